// One budget of cores for the whole process, so that two sessions that compute at once share the machine instead of
// each starting a thread per core.
#pragma once

namespace deeplab {

// Cores that this process may use.
int available_cores();

// The name that `top -H` and debuggers show, at most 15 characters; threads started by this one inherit it.
void name_this_thread(const char* name);

// Holds `threads` cores (at most all there are) of the process's budget; waits for its turn, first come, first served.
class CoreLease {
 public:
  explicit CoreLease(int threads);
  ~CoreLease();
  CoreLease(const CoreLease&) = delete;
  CoreLease& operator=(const CoreLease&) = delete;

 private:
  int cores_;
};

}  // namespace deeplab

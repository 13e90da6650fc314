// One budget of cores for the whole process, so that two sessions that compute at once share the machine instead of
// each starting a thread per core.
#pragma once

#include <atomic>

namespace deeplab {

// Cores that this process may use.
int available_cores();

// The name that `top -H` and debuggers show, at most 15 characters; threads started by this one inherit it.
void name_this_thread(const char* name);

// Holds `threads` cores (at most all there are) of the process's budget; waits for its turn, first come, first served,
// or until `cancelled` is true: then it holds none, and whoever asked has to end.
class CoreLease {
 public:
  CoreLease(int threads, const std::atomic<bool>& cancelled);
  ~CoreLease();
  CoreLease(const CoreLease&) = delete;
  CoreLease& operator=(const CoreLease&) = delete;

  bool held() const { return cores_ != 0; }

 private:
  int cores_;
};

// To be called after a flag has become true that a lease may be waiting with.
void wake_cancelled_leases();

}  // namespace deeplab

// Threads against the end of the process. `process.exit()` on Node's main thread runs no clean-up hook and ends no
// worker_thread: it calls exit(), which destroys the static objects of every library while our threads still use those
// of oneDNN.
#pragma once

#include <functional>

namespace deeplab {

// While it lives, two calls are made when the process ends, on the thread that ends it: `stop`, to tell a thread to
// end, and after all others have been told, `wait`, which returns when that one has.
class StopAtExit {
 public:
  StopAtExit(std::function<void()> stop, std::function<void()> wait);
  ~StopAtExit();
  StopAtExit(const StopAtExit&) = delete;
  StopAtExit& operator=(const StopAtExit&) = delete;

 private:
  friend void stop_for_exit();
  const std::function<void()> stop_, wait_;
};

// Calls every `stop` that there is now, and then every `wait`.
void stop_for_exit();

// exit() destroys what was constructed last first, and calls `stop_for_exit` when it comes to where this was called. To
// be called again after a library may have constructed static objects, which it does when it first needs them.
void expect_exit();

}  // namespace deeplab

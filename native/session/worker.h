// One thread and its queue: what a loaded model, or the CRF of an image, works on. Everybody else talks to the thread
// through the queue.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/status.h"

namespace deeplab {

class Worker {
 public:
  // Once `cancelled` is true, a job ends with ERR_ABORTED as soon as it can.
  using Job = std::function<Status(const std::atomic<bool>& cancelled)>;
  using Done = std::function<void(const Status&)>;

  // `name` says in messages what is closed, or out of memory: "the model".
  explicit Worker(std::string name) : name_(std::move(name)) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread, with `job` first: `started` gets its outcome. If it fails, the thread ends.
  // `finish` is called on the thread when it ends, to free what only it has used.
  void start(Job job, Done started, std::function<void()> finish);

  // `done` is called once, on any thread.
  void submit(uint64_t id, Job job, Done done);
  // Ends a job with ERR_ABORTED: at once if it waits, soon if it runs. Unknown ids are ignored.
  void cancel(uint64_t id);
  // Jobs submitted so far are done, later ones get ERR_CLOSED; then the thread ends and `closed` is called once.
  void close(std::function<void()> closed);
  // Cancels everything and waits for the thread.
  void stop();

 private:
  struct Entry {
    uint64_t id = 0;
    Job job;
    Done done;
  };

  void thread_main(Entry first, const std::function<void()>& finish);
  void serve();
  Status run(const Job& job);

  const std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> queue_;
  uint64_t running_id_ = 0;
  std::atomic<bool> cancelled_{false};  // the running job
  bool closing_ = false;
  bool finished_ = false;
  std::vector<std::function<void()>> closed_;

  std::thread thread_;
};

}  // namespace deeplab

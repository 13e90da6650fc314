// One thread and its queue: what a loaded model, or the CRF of an image, works on. Everybody else talks to the thread
// through the queue.
//
// A job may leave a device computing by itself. The thread then starts the next job before it waits for that one, so
// that the copies of one overlap the computation of the other; two are under way at most.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "core/process_exit.h"
#include "core/status.h"

namespace deeplab {

class Worker {
 public:
  // Waits for what a job has left going on, and returns its outcome. Called once, on the thread, in the order of jobs.
  using Finish = std::function<Status()>;
  // What a job comes to: its outcome, or the way to wait for it.
  using Started = std::variant<Status, Finish>;
  // Once `cancelled` is true, a job ends with ERR_ABORTED as soon as it can. The flag lives until the job is done.
  using Job = std::function<Started(const std::atomic<bool>& cancelled)>;
  using Done = std::function<void(const Status&)>;

  static constexpr size_t kMostUnderWay = 2;

  // `name` says in messages what is closed, or out of memory: "the model".
  explicit Worker(std::string name) : name_(std::move(name)) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread, with `set_up` first: `started` gets its outcome. If it fails, the thread ends.
  // `stop` sets its flag: it then ends with ERR_ABORTED as soon as it can.
  // `tear_down` is called on the thread when it ends, to free what only it has used.
  using SetUp = std::function<Status(const std::atomic<bool>& cancelled)>;
  void start(SetUp set_up, Done started, std::function<void()> tear_down);

  // `done` is called once, on any thread, as soon as the job is done. After ERR_DEVICE_FAILED, which no device
  // recovers from, jobs get that error without being started.
  void submit(uint64_t id, Job job, Done done);
  // Ends a job with ERR_ABORTED: at once if it waits, soon if it runs; one that a device computes by itself, when that
  // is over. Unknown ids are ignored.
  void cancel(uint64_t id);
  // Jobs submitted so far are done, later ones get ERR_CLOSED; then the thread ends and `closed` is called once.
  void close(std::function<void()> closed);
  // Cancels everything and waits for the thread.
  void stop();

 private:
  struct Entry {
    Entry(uint64_t id, Job job, Done done) : id(id), job(std::move(job)), done(std::move(done)) {}

    const uint64_t id;
    Job job;        // until it has started
    Finish finish;  // from then on
    const Done done;
    std::atomic<bool> cancelled{false};
  };
  // Entries move from list to list, and never in memory: jobs refer to their flags.
  using Entries = std::list<Entry>;

  void thread_main(SetUp set_up, const Done& started, const std::function<void()>& tear_down);
  void serve();
  void begin(Entries::iterator entry);
  void finish(Entries::iterator entry);
  void abandon();
  void wait();
  void settle(Entries::iterator entry, const Status& status);
  template <typename Call>
  auto guarded(const Call& call) const -> decltype(call());

  const std::string name_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Entries queue_;
  Entries under_way_;                  // changed by the thread alone
  std::atomic<bool> stopping_{false};  // what `set_up` looks at
  bool started_ = false;
  bool closing_ = false;
  bool finished_ = false;
  std::vector<std::function<void()>> closed_;

  Status failed_;  // of the thread alone: ERR_DEVICE_FAILED once that has happened

  std::thread thread_;
  const StopAtExit at_exit_{[this] { abandon(); }, [this] { wait(); }};
};

}  // namespace deeplab

// One thread and its queue: what a loaded model, or the CRF of an image, works on. Everybody else talks to the thread
// through the queue.
//
// Tasks that fit together may be computed in one run. A run may leave a device computing by itself: the thread then
// starts the next before it waits for that one, so that the copies of one overlap the computation of the other; two are
// under way at most.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "core/process_exit.h"
#include "core/status.h"

namespace deeplab {

// Interactive tasks are always started before bulk ones, and at most one run of bulk is under way, so that an
// interactive task never waits for more than that.
enum class Priority { kInteractive, kBulk };

// Waits for what a run has left going on, and returns its outcome. Called once, on the thread, in the order of runs.
using Finish = std::function<Status()>;
// What starting a run comes to: its outcome, or the way to wait for it.
using Started = std::variant<Status, Finish>;

// Something to compute. A run holds its tasks until it is over.
class Task {
 public:
  virtual ~Task() = default;
  // Computes this and `riders`, other tasks that it takes along. Once `cancelled` is true, the run ends with
  // ERR_ABORTED as soon as it can; the flag lives until it is over.
  virtual Started start(const std::vector<Task*>& riders, const std::atomic<bool>& cancelled) = 0;
  // Whether `other` can be computed in one run with this.
  virtual bool takes(const Task& /*other*/) const { return false; }
  // After a run that succeeded: brings what is elsewhere to where this task's caller wants it. A run with riders
  // touches nothing of a caller's until then, so that he can be told at once that his task was cancelled.
  virtual Status deliver() { return Status(); }
};

// A function, computed alone.
class LoneTask : public Task {
 public:
  using Function = std::function<Started(const std::atomic<bool>& cancelled)>;
  explicit LoneTask(Function function) : function_(std::move(function)) {}
  Started start(const std::vector<Task*>&, const std::atomic<bool>& cancelled) override { return function_(cancelled); }

 private:
  const Function function_;
};

// How tasks share runs.
struct BatchPolicy {
  // Tasks in a run: sizes are powers of two, and this one.
  size_t max_batch = 1;
  // How long a task may wait for others to ride with.
  std::chrono::microseconds max_delay{0};
};

// How a task fared.
struct TaskTimes {
  double queued_ms = 0;    // from its submission to the start of its run
  double computed_ms = 0;  // from there to its outcome
  size_t batch = 0;        // tasks in its run; 0 if it was never started
};

struct WorkerStats {
  size_t queued = 0;
  size_t running = 0;                  // tasks of the runs under way
  std::map<size_t, uint64_t> batches;  // runs so far, by their number of tasks
};

class Worker {
 public:
  using SetUp = std::function<Status(const std::atomic<bool>& cancelled)>;
  using Done = std::function<void(const Status&)>;
  using TaskDone = std::function<void(const Status&, const TaskTimes&)>;

  static constexpr size_t kMostUnderWay = 2;

  // `name` says in messages what is closed, or out of memory: "the model".
  explicit Worker(std::string name, BatchPolicy policy = {}) : name_(std::move(name)), policy_(policy) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread, with `set_up` first: `started` gets its outcome. If it fails, the thread ends.
  // `abort` sets its flag: it then ends with ERR_ABORTED as soon as it can.
  // `tear_down` is called on the thread when it ends, to free what only it has used.
  void start(SetUp set_up, Done started, std::function<void()> tear_down);

  // Before any task is submitted; in `set_up` at the latest.
  void set_policy(BatchPolicy policy) { policy_ = policy; }

  // `done` is called once, on any thread, as soon as the task is done. After ERR_DEVICE_FAILED, which no device
  // recovers from, tasks get that error without being started.
  void submit(uint64_t id, Priority priority, std::shared_ptr<Task> task, TaskDone done);
  // Ends a task with ERR_ABORTED: at once if it waits or shares its run, soon if it runs alone; one that a device
  // computes by itself, when that is over. Unknown ids are ignored.
  void cancel(uint64_t id);
  // Tasks submitted so far are done, later ones get ERR_CLOSED; then the thread ends and `closed` is called once.
  void close(std::function<void()> closed);
  // Cancels everything, the setting up included, and takes no more; the thread ends soon.
  void abort();
  // The same, and waits for the thread.
  void stop();

  WorkerStats stats() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Entry {
    uint64_t id;
    std::shared_ptr<Task> task;
    TaskDone done;
    Clock::time_point submitted;
  };
  // Entries and runs move from list to list, and never in memory: tasks refer to the flags of their run.
  using Entries = std::list<Entry>;
  struct Run {
    Entries entries;  // those that still wait for it
    Priority priority = Priority::kInteractive;
    std::vector<std::shared_ptr<Task>> tasks;  // all
    Clock::time_point started;
    Finish finish;  // while a device computes
    bool delivering = false;
    std::atomic<bool> cancelled{false};

    bool shared() const { return tasks.size() > 1; }
  };
  using Runs = std::list<Run>;

  void thread_main(SetUp set_up, const Done& started, const std::function<void()>& tear_down);
  void serve();
  // The next run, put at the end of `under_way_`, or none and the time until which there is none. With the mutex held.
  bool gather(Clock::time_point* due);
  void begin(Run& run);
  void finish(Runs::iterator run);
  void settle(Runs::iterator run, const Status& status);
  bool idle() const;  // nothing waits; with the mutex held
  void wait();
  void abort_entries(const Entries& entries, const Status& status) const;
  template <typename Call>
  auto guarded(const Call& call) const -> decltype(call());

  const std::string name_;
  BatchPolicy policy_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Entries, 2> queues_;  // by priority
  Runs under_way_;                 // changed by the thread alone
  std::map<size_t, uint64_t> batches_;
  bool started_ = false;
  bool closing_ = false;
  bool finished_ = false;
  std::atomic<bool> set_up_cancelled_{false};
  std::vector<std::function<void()>> closed_;

  Status failed_;  // of the thread alone: ERR_DEVICE_FAILED once that has happened

  std::thread thread_;
  const StopAtExit at_exit_{[this] { abort(); }, [this] { wait(); }};
};

}  // namespace deeplab

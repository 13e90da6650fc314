// What the tests of native/session/worker.h have in common: jobs that are made up, and a log of what happens to them.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>

#include "session/worker.h"

#define EXPECT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                 \
    }                                                                               \
  } while (false)

namespace deeplab {

// What happens, in order, for all threads to add to and to wait on.
class Log {
 public:
  void add(const std::string& event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(event);
    changed_.notify_all();
  }
  // A minute is for ever: it only ends a test that would hang.
  void wait_for(const std::string& event) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto there = [&] { return count(event) > 0; };
    if (changed_.wait_for(lock, std::chrono::minutes(1), there)) return;
    std::fprintf(stderr, "\"%s\" has not happened; but:\n", event.c_str());
    for (const std::string& other : events_) std::fprintf(stderr, "  %s\n", other.c_str());
    std::exit(1);
  }
  std::vector<std::string> events() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_;
  }
  bool has(const std::string& event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return count(event) > 0;
  }
  bool in_order(const std::string& first, const std::string& second) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return count(first) == 1 && count(second) == 1 &&
           std::find(events_.begin(), events_.end(), first) < std::find(events_.begin(), events_.end(), second);
  }

 private:
  std::ptrdiff_t count(const std::string& event) { return std::count(events_.begin(), events_.end(), event); }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

// A gate that a job waits at.
class Latch {
 public:
  void open() { promise_.set_value(); }
  void wait() const { EXPECT(opened_.wait_for(std::chrono::minutes(1)) == std::future_status::ready); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> opened_ = promise_.get_future().share();
};

using Events = std::vector<std::string>;

inline void submit(Worker& worker, uint64_t id, LoneTask::Function job, Worker::Done done) {
  const auto task_done = [done = std::move(done)](const Status& status, const TaskTimes&) { done(status); };
  worker.submit(id, Priority::kInteractive, std::make_shared<LoneTask>(std::move(job)), task_done);
}

class Desk {
 public:
  explicit Desk(BatchPolicy policy = {}) : worker("the desk", policy) {
    worker.start(
        [this](const std::atomic<bool>&) {
          log.add("set up");
          return Status();
        },
        [](const Status&) {}, [this] { log.add("torn down"); });
  }

  std::string name(uint64_t id) const { return std::to_string(id); }

  // Logs "<id> OK" or "<id> ERR_...".
  Worker::Done done(uint64_t id) {
    return [this, id](const Status& status) { log.add(name(id) + " " + code_name(status.code())); };
  }

  // A CPU's job.
  void submit_immediate(uint64_t id, const Latch* hold = nullptr, Status outcome = Status()) {
    const auto job = [this, id, hold, outcome](const std::atomic<bool>& cancelled) -> Started {
      log.add("start " + name(id));
      if (hold != nullptr) hold->wait();
      return cancelled ? error(Code::kAborted, "aborted") : outcome;
    };
    submit(worker, id, job, done(id));
  }

  // A GPU's job: what it starts is over when `over` is open.
  void submit_overlapping(uint64_t id, const Latch* over = nullptr, Status outcome = Status(),
                          const Latch* hold_start = nullptr) {
    const auto job = [this, id, over, outcome, hold_start](const std::atomic<bool>& cancelled) -> Started {
      log.add("start " + name(id));
      if (hold_start != nullptr) hold_start->wait();
      if (cancelled) return error(Code::kAborted, "aborted");
      const size_t now = ++under_way;
      EXPECT(now <= Worker::kMostUnderWay);
      return Finish([this, id, over, outcome] {
        log.add("wait for " + name(id));
        if (over != nullptr) over->wait();
        --under_way;
        return outcome;
      });
    };
    submit(worker, id, job, done(id));
  }

  void close() {
    std::promise<void> closed;
    worker.close([&closed] { closed.set_value(); });
    EXPECT(closed.get_future().wait_for(std::chrono::minutes(1)) == std::future_status::ready);
  }

  Log log;
  std::atomic<size_t> under_way{0};
  Worker worker;
};

}  // namespace deeplab

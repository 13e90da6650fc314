// Holds native/session/worker.h to its word with jobs that are made up: some are done when they return, some leave a
// device going that this program plays. Prints a line per case; test/worker.test.ts runs it.

#include "session/worker.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <new>

#include "core/process_exit.h"
#include "core/threads.h"

namespace deeplab {
namespace {

#define EXPECT(condition)                                                             \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::fprintf(stderr, "worker_test.cc:%d: expected %s\n", __LINE__, #condition); \
      std::exit(1);                                                                   \
    }                                                                                 \
  } while (false)

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

void submit(Worker& worker, uint64_t id, LoneTask::Function job, Worker::Done done) {
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

// A task that rides with those of its kind. Logs "run 1 2 3" for a run, "deliver 1" for each of its tasks.
class Rider : public Task {
 public:
  Rider(Log& log, uint64_t id, char kind, const Latch* hold, bool overlaps = false)
      : log_(log), id_(id), kind_(kind), hold_(hold), overlaps_(overlaps) {}

  Started start(const std::vector<Task*>& riders, const std::atomic<bool>& cancelled) override {
    std::string run = "run " + std::to_string(id_);
    for (const Task* rider : riders) run += " " + std::to_string(static_cast<const Rider*>(rider)->id_);
    log_.add(run);
    const auto outcome = [this, &cancelled] {
      if (hold_ != nullptr) hold_->wait();
      if (cancelled) log_.add("cancelled " + std::to_string(id_));
      return cancelled ? error(Code::kAborted, "aborted") : Status();
    };
    if (overlaps_) return Finish(outcome);
    return outcome();
  }
  bool takes(const Task& other) const override { return static_cast<const Rider&>(other).kind_ == kind_; }
  Status deliver() override {
    log_.add("deliver " + std::to_string(id_));
    return Status();
  }

 private:
  Log& log_;
  const uint64_t id_;
  const char kind_;
  const Latch* hold_;
  const bool overlaps_;
};

constexpr auto kForEver = std::chrono::hours(1);

class Bus : public Desk {
 public:
  explicit Bus(size_t seats, std::chrono::microseconds delay = std::chrono::microseconds(0)) : Desk({seats, delay}) {}

  void submit(uint64_t id, char kind, const Latch* hold = nullptr, Priority priority = Priority::kInteractive,
              bool overlaps = false) {
    const auto record = [this, id](const Status& status, const TaskTimes& taken) {
      times[id] = taken;
      log.add(name(id) + " " + code_name(status.code()));
    };
    worker.submit(id, priority, std::make_shared<Rider>(log, id, kind, hold, overlaps), record);
  }
  // The events that begin with `word`.
  Events about(const std::string& word) {
    Events events;
    for (const std::string& event : log.events()) {
      if (event.compare(0, word.size(), word) == 0) events.push_back(event);
    }
    return events;
  }

  std::array<TaskTimes, 100> times;
};

void jobs_are_done_in_order_each_before_the_next_starts() {
  Desk desk;
  Latch first;
  desk.submit_immediate(1, &first);
  desk.submit_immediate(2);
  desk.submit_immediate(3);
  first.open();
  desk.close();
  EXPECT((desk.log.events() == Events{"set up", "start 1", "1 OK", "start 2", "2 OK", "start 3", "3 OK", "torn down"}));
}

void an_overlapping_job_alone_is_done_without_another_coming() {
  Desk desk;
  desk.submit_overlapping(1);
  desk.log.wait_for("1 OK");
  desk.submit_overlapping(2);
  desk.log.wait_for("2 OK");
}

void the_next_job_starts_before_the_one_before_is_waited_for() {
  Desk desk;
  Latch queued, over;
  desk.submit_overlapping(1, &over, Status(), &queued);
  desk.submit_overlapping(2);
  desk.submit_overlapping(3);
  queued.open();
  desk.log.wait_for("wait for 1");
  EXPECT(!desk.log.has("start 3"));  // two are under way
  over.open();
  desk.close();
  EXPECT((desk.log.events() == Events{"set up", "start 1", "start 2", "wait for 1", "1 OK", "start 3", "wait for 2",
                                      "2 OK", "wait for 3", "3 OK", "torn down"}));
}

void a_job_that_is_done_at_once_does_not_wait_for_the_one_before() {
  Desk desk;
  Latch queued, over;
  desk.submit_overlapping(1, &over, Status(), &queued);
  desk.submit_immediate(2);
  queued.open();
  desk.log.wait_for("2 OK");
  EXPECT(!desk.log.has("1 OK"));
  over.open();
  desk.log.wait_for("1 OK");
}

void each_of_two_under_way_is_cancelled_by_itself() {
  for (const uint64_t cancelled : {1, 2}) {
    Desk desk;
    Latch queued, over;
    desk.submit_overlapping(1, &over, Status(), &queued);
    desk.submit_overlapping(2);
    queued.open();
    desk.log.wait_for("wait for 1");
    desk.worker.cancel(cancelled);
    desk.worker.cancel(99);
    over.open();
    desk.close();
    EXPECT(desk.log.has(cancelled == 1 ? "1 ERR_ABORTED" : "1 OK"));
    EXPECT(desk.log.has(cancelled == 2 ? "2 ERR_ABORTED" : "2 OK"));
    EXPECT(desk.log.has("wait for 1") && desk.log.has("wait for 2"));
  }
}

void one_that_is_cancelled_while_it_starts_is_not_waited_for() {
  Desk desk;
  Latch starting, over;
  desk.submit_overlapping(1, &over, Status(), &starting);
  desk.submit_overlapping(2);
  desk.log.wait_for("start 1");
  desk.worker.cancel(1);
  starting.open();
  desk.log.wait_for("1 ERR_ABORTED");
  desk.log.wait_for("2 OK");
  EXPECT(!desk.log.has("wait for 1"));
  over.open();
}

void one_that_waits_is_cancelled_at_once() {
  Desk desk;
  Latch running;
  desk.submit_immediate(1, &running);
  desk.submit_overlapping(2);
  desk.log.wait_for("start 1");
  desk.worker.cancel(2);
  EXPECT(desk.log.has("2 ERR_ABORTED"));
  EXPECT(!desk.log.has("1 OK"));
  running.open();
  desk.close();
  EXPECT(!desk.log.has("start 2"));
}

void a_failure_is_that_of_its_own_job() {
  Desk desk;
  Latch queued;
  desk.submit_overlapping(1, nullptr, error(Code::kOutOfMemory, "large"), &queued);
  desk.submit_overlapping(2);
  desk.submit_immediate(3, nullptr, error(Code::kInternal, "odd"));
  desk.submit_overlapping(4);
  queued.open();
  desk.close();
  EXPECT(desk.log.has("1 ERR_OUT_OF_MEMORY") && desk.log.has("2 OK"));
  EXPECT(desk.log.has("3 ERR_INTERNAL") && desk.log.has("4 OK"));
}

void after_a_device_has_failed_nothing_is_started_on_it() {
  Desk desk;
  Latch queued;
  desk.submit_overlapping(1, nullptr, error(Code::kDeviceFailed, "lost"), &queued);
  desk.submit_overlapping(2, nullptr, error(Code::kDeviceFailed, "lost"));
  desk.submit_overlapping(3);
  desk.submit_immediate(4);
  queued.open();
  desk.close();
  for (const char* event : {"wait for 1", "wait for 2"}) EXPECT(desk.log.has(event));
  for (const char* event : {"1 ERR_DEVICE_FAILED", "2 ERR_DEVICE_FAILED", "3 ERR_DEVICE_FAILED", "4 ERR_DEVICE_FAILED"})
    EXPECT(desk.log.has(event));
  for (const char* event : {"start 3", "start 4"}) EXPECT(!desk.log.has(event));
}

void no_memory_for_either_half_is_an_error_of_the_job() {
  Desk desk;
  submit(
      desk.worker, 1, [](const std::atomic<bool>&) -> Started { throw std::bad_alloc(); }, desk.done(1));
  submit(
      desk.worker, 2,
      [](const std::atomic<bool>&) -> Started { return Finish([]() -> Status { throw std::bad_alloc(); }); },
      desk.done(2));
  desk.submit_overlapping(3);
  desk.close();
  EXPECT(desk.log.has("1 ERR_OUT_OF_MEMORY") && desk.log.has("2 ERR_OUT_OF_MEMORY") && desk.log.has("3 OK"));
}

void close_drains_what_is_under_way_and_what_waits() {
  Desk desk;
  Latch over;
  desk.submit_overlapping(1, &over);
  for (uint64_t id = 2; id <= 5; ++id) desk.submit_overlapping(id);
  desk.worker.close([&desk] { desk.log.add("closed"); });
  desk.submit_overlapping(6);
  EXPECT(desk.log.has("6 ERR_CLOSED"));
  EXPECT(!desk.log.has("closed"));
  over.open();
  desk.log.wait_for("closed");
  for (uint64_t id = 1; id <= 5; ++id) EXPECT(desk.log.in_order("wait for " + desk.name(id), desk.name(id) + " OK"));
  EXPECT(desk.log.in_order("5 OK", "torn down") && desk.log.in_order("torn down", "closed"));
  desk.close();  // again: at once
}

void stop_waits_for_what_is_under_way_and_drops_what_waits() {
  Desk desk;
  Latch queued, over;
  desk.submit_overlapping(1, &over, Status(), &queued);
  desk.submit_overlapping(2);
  desk.submit_overlapping(3);
  queued.open();
  desk.log.wait_for("wait for 1");
  std::thread stopping([&desk] { desk.worker.stop(); });
  desk.log.wait_for("3 ERR_CLOSED");
  over.open();
  stopping.join();
  EXPECT(desk.log.has("1 ERR_ABORTED") && desk.log.has("2 ERR_ABORTED"));
  EXPECT(desk.log.has("wait for 2") && !desk.log.has("start 3"));
  EXPECT(desk.under_way == 0);
  EXPECT(desk.log.in_order("2 ERR_ABORTED", "torn down"));
}

void a_worker_that_cannot_be_set_up_takes_no_jobs() {
  Log log;
  Worker worker("the desk");
  worker.start([](const std::atomic<bool>&) { return error(Code::kInvalidWeights, "bad"); },
               [&log](const Status& status) { log.add(code_name(status.code())); }, [&log] { log.add("torn down"); });
  worker.close([&log] { log.add("closed"); });
  log.wait_for("closed");
  submit(
      worker, 1, [](const std::atomic<bool>&) { return Status(); },
      [&log](const Status& status) { log.add(code_name(status.code())); });
  EXPECT((log.events() == Events{"ERR_INVALID_WEIGHTS", "torn down", "closed", "ERR_CLOSED"}));
}

void stop_ends_setting_up() {
  Log log;
  Worker worker("the desk");
  const auto set_up = [&log](const std::atomic<bool>& cancelled) {
    log.add("set up");
    while (!cancelled) std::this_thread::yield();
    return error(Code::kAborted, "aborted");
  };
  worker.start(
      set_up, [&log](const Status& status) { log.add(code_name(status.code())); }, [] {});
  log.wait_for("set up");
  worker.stop();
  EXPECT((log.events() == Events{"set up", "ERR_ABORTED"}));
}

void stop_ends_waiting_for_cores_that_another_has() {
  const std::atomic<bool> never{false};
  const CoreLease all(available_cores(), never);
  EXPECT(all.held());
  Log log;
  Worker waiting("the desk"), behind("the desk");
  const auto set_up = [&log](const std::atomic<bool>& cancelled) {
    log.add("set up");
    const CoreLease cores(1, cancelled);
    EXPECT(!cores.held());
    return error(Code::kAborted, "aborted");
  };
  for (Worker* worker : {&waiting, &behind}) {
    worker->start(
        set_up, [&log](const Status& status) { log.add(code_name(status.code())); }, [] {});
  }
  log.wait_for("set up");
  waiting.stop();
  EXPECT(log.has("ERR_ABORTED"));
  behind.stop();
}

void who_gives_up_waiting_holds_up_nobody() {
  const std::atomic<bool> never{false}, given_up{true};
  const CoreLease none(available_cores(), given_up);
  EXPECT(!none.held());
  const CoreLease all(available_cores(), never);
  EXPECT(all.held());
}

void the_end_of_the_process_ends_jobs_and_set_ups() {
  Log log;
  Worker busy("the desk"), setting_up("the desk"), never_started("the desk"), stopped("the desk");
  const auto until_cancelled = [&log](const std::atomic<bool>& cancelled) {
    log.add("begun");
    while (!cancelled) std::this_thread::yield();
    return error(Code::kAborted, "aborted");
  };
  busy.start([](const std::atomic<bool>&) { return Status(); }, [](const Status&) {}, [] {});
  submit(busy, 1, until_cancelled, [&log](const Status&) { log.add("1 done"); });
  log.wait_for("begun");
  submit(busy, 2, until_cancelled, [&log](const Status& status) { log.add(code_name(status.code())); });
  setting_up.start(
      until_cancelled, [&log](const Status&) { log.add("not set up"); }, [] {});
  stopped.start([](const std::atomic<bool>&) { return Status(); }, [](const Status&) {}, [] {});
  stopped.stop();
  stop_for_exit();
  EXPECT(log.has("1 done") && log.has("ERR_CLOSED") && log.has("not set up"));
}

// Jobs of all kinds, cancelled or not: each is done once, and what was started is waited for once.
void nothing_is_lost_or_done_twice(uint32_t seed) {
  constexpr uint64_t kJobs = 2000;
  auto random = [state = seed]() mutable {
    state = state * 1664525u + 1013904223u;
    return state >> 24;
  };
  std::vector<std::atomic<int>> started(kJobs + 1), finished(kJobs + 1), done(kJobs + 1);
  std::atomic<int> under_way{0};
  {
    Worker worker("the desk");
    worker.start([](const std::atomic<bool>&) { return Status(); }, [](const Status&) {}, [] {});
    std::thread canceller([&worker, random]() mutable {
      for (uint64_t id = 1; id <= kJobs; id += 1 + random() % 8) worker.cancel(id);
    });
    for (uint64_t id = 1; id <= kJobs; ++id) {
      const bool overlaps = random() % 4 != 0, fails = random() % 8 == 0;
      const auto job = [&, id, overlaps, fails](const std::atomic<bool>& cancelled) -> Started {
        if (fails || cancelled) return error(Code::kAborted, "aborted");
        if (!overlaps) return Status();
        ++started[id];
        EXPECT(++under_way <= static_cast<int>(Worker::kMostUnderWay));
        return Finish([&, id] {
          --under_way;
          ++finished[id];
          return Status();
        });
      };
      submit(worker, id, job, [&done, id](const Status&) { ++done[id]; });
    }
    std::promise<void> closed;
    if (seed % 2 == 0) {
      worker.close([&closed] { closed.set_value(); });
      closed.get_future().wait();
    } else {
      worker.stop();
    }
    canceller.join();
  }
  for (uint64_t id = 1; id <= kJobs; ++id) EXPECT(done[id] == 1 && started[id] == finished[id] && started[id] <= 1);
}

void tasks_that_fit_ride_together_in_the_order_of_their_submission() {
  Bus bus(4);
  Latch busy;
  bus.submit(1, 'x', &busy);
  bus.log.wait_for("run 1");
  for (uint64_t id = 2; id <= 8; ++id) bus.submit(id, id == 4 ? 'b' : 'a');
  EXPECT(bus.worker.stats().queued == 7 && bus.worker.stats().running == 1);
  busy.open();
  bus.close();
  EXPECT((bus.about("run") == Events{"run 1", "run 2 3 5 6", "run 4", "run 7 8"}));
  EXPECT((bus.worker.stats().batches == std::map<size_t, uint64_t>{{1, 2}, {2, 1}, {4, 1}}));
  EXPECT(bus.times[2].batch == 4 && bus.times[4].batch == 1 && bus.times[2].queued_ms > 0);
  for (uint64_t id = 1; id <= 8; ++id) EXPECT(bus.log.in_order("deliver " + bus.name(id), bus.name(id) + " OK"));
}

void batches_are_powers_of_two_or_full() {
  Bus bus(6);
  Latch busy;
  bus.submit(1, 'x', &busy);
  bus.log.wait_for("run 1");
  for (uint64_t id = 2; id <= 14; ++id) bus.submit(id, 'a');
  busy.open();
  bus.close();
  EXPECT((bus.about("run") == Events{"run 1", "run 2 3 4 5 6 7", "run 8 9 10 11 12 13", "run 14"}));
  Bus other(6);
  Latch busy_again;
  other.submit(1, 'x', &busy_again);
  other.log.wait_for("run 1");
  for (uint64_t id = 2; id <= 6; ++id) other.submit(id, 'a');
  busy_again.open();
  other.close();
  EXPECT((other.about("run") == Events{"run 1", "run 2 3 4 5", "run 6"}));
}

void a_task_waits_for_company_and_a_full_batch_does_not() {
  Bus bus(2, kForEver);
  bus.submit(1, 'a');
  bus.submit(2, 'b');
  EXPECT(bus.worker.stats().queued == 2);
  bus.submit(3, 'a');
  bus.log.wait_for("3 OK");
  EXPECT((bus.about("run") == Events{"run 1 3"}));
  bus.close();  // waits for nobody
  EXPECT((bus.about("run") == Events{"run 1 3", "run 2"}));
}

void a_task_alone_waits_no_longer_than_it_must() {
  Bus bus(2, std::chrono::milliseconds(20));
  bus.submit(1, 'a');
  bus.log.wait_for("1 OK");
  EXPECT(bus.times[1].queued_ms >= 20);
}

void what_is_under_way_is_waited_for_while_others_wait_for_company() {
  Bus bus(2, kForEver);
  Latch over;
  for (const uint64_t id : {1, 2}) bus.submit(id, 'a', &over, Priority::kInteractive, true);
  bus.submit(3, 'a');
  bus.log.wait_for("run 1 2");
  over.open();
  bus.log.wait_for("2 OK");
  EXPECT(bus.worker.stats().queued == 1);
}

void interactive_tasks_come_before_bulk_and_wait_for_one_run_of_it_at_most() {
  for (const bool overlaps : {false, true}) {
    Bus bus(2);
    Latch busy;
    bus.submit(1, 'x', &busy, Priority::kBulk, overlaps);
    bus.log.wait_for("run 1");
    for (const uint64_t id : {2, 3, 4}) bus.submit(id, 'a', nullptr, Priority::kBulk, overlaps);
    for (const uint64_t id : {5, 6}) bus.submit(id, 'a', nullptr, Priority::kInteractive, overlaps);
    busy.open();
    bus.close();
    EXPECT((bus.about("run") == Events{"run 1", "run 5 6", "run 2 3", "run 4"}));
  }
}

void a_rider_is_cancelled_at_once_and_the_others_go_on() {
  Bus bus(4);
  Latch busy, over;
  bus.submit(1, 'x', &busy);
  bus.log.wait_for("run 1");
  for (uint64_t id = 2; id <= 5; ++id) bus.submit(id, 'a', &over);
  busy.open();
  bus.log.wait_for("run 2 3 4 5");
  bus.worker.cancel(2);
  bus.worker.cancel(4);
  EXPECT(bus.log.has("2 ERR_ABORTED") && bus.log.has("4 ERR_ABORTED"));
  EXPECT(bus.worker.stats().running == 2);
  over.open();
  bus.close();
  EXPECT(bus.log.has("3 OK") && bus.log.has("5 OK"));
  EXPECT((bus.about("deliver") == Events{"deliver 1", "deliver 3", "deliver 5"}));
  EXPECT(bus.about("cancelled").empty());
}

void a_run_without_riders_left_is_cancelled() {
  Bus bus(2);
  Latch busy, over;
  bus.submit(1, 'x', &busy);
  bus.log.wait_for("run 1");
  for (const uint64_t id : {2, 3}) bus.submit(id, 'a', &over);
  busy.open();
  bus.log.wait_for("run 2 3");
  for (const uint64_t id : {2, 3}) bus.worker.cancel(id);
  over.open();
  bus.close();
  EXPECT(bus.log.has("cancelled 2"));
  EXPECT((bus.about("deliver") == Events{"deliver 1"}));
}

void abort_ends_the_setting_up_and_everything_else_without_waiting() {
  Log log;
  Latch setting_up;
  Worker worker("the desk");
  worker.start(
      [&](const std::atomic<bool>& cancelled) {
        log.add("setting up");
        setting_up.wait();
        return cancelled ? error(Code::kAborted, "aborted") : Status();
      },
      [&log](const Status& status) { log.add(code_name(status.code())); }, [] {});
  log.wait_for("setting up");
  submit(
      worker, 1, [](const std::atomic<bool>&) { return Status(); },
      [&log](const Status& status) { log.add(std::string("1 ") + code_name(status.code())); });
  worker.abort();
  EXPECT(log.has("1 ERR_CLOSED"));
  setting_up.open();
  log.wait_for("ERR_ABORTED");
}

// Riders of all kinds and priorities, cancelled or not: each is done once, and delivered once or never.
void no_rider_is_lost_or_done_twice(uint32_t seed) {
  constexpr uint64_t kTasks = 2000;
  struct Counted : Task {
    Counted(std::atomic<int>& delivered, int kind, bool overlaps)
        : delivered(delivered), kind(kind), overlaps(overlaps) {}
    Started start(const std::vector<Task*>&, const std::atomic<bool>& cancelled) override {
      const auto outcome = [&cancelled] { return cancelled ? error(Code::kAborted, "aborted") : Status(); };
      if (overlaps) return Finish(outcome);
      return outcome();
    }
    bool takes(const Task& other) const override { return static_cast<const Counted&>(other).kind == kind; }
    Status deliver() override {
      ++delivered;
      return Status();
    }
    std::atomic<int>& delivered;
    const int kind;
    const bool overlaps;
  };
  auto random = [state = seed]() mutable {
    state = state * 1664525u + 1013904223u;
    return state >> 24;
  };
  std::vector<std::atomic<int>> delivered(kTasks + 1), ok(kTasks + 1), aborted(kTasks + 1);
  {
    Worker worker("the desk", {4, std::chrono::microseconds(seed % 3 * 50)});
    worker.start([](const std::atomic<bool>&) { return Status(); }, [](const Status&) {}, [] {});
    std::thread canceller([&worker, random]() mutable {
      for (uint64_t id = 1; id <= kTasks; id += 1 + random() % 8) worker.cancel(id);
    });
    for (uint64_t id = 1; id <= kTasks; ++id) {
      const auto priority = static_cast<Priority>(random() % 2);
      const int kind = random() % 3;
      worker.submit(id, priority, std::make_shared<Counted>(delivered[id], kind, random() % 2 == 0),
                    [&, id](const Status& status, const TaskTimes&) { ++(status.ok() ? ok : aborted)[id]; });
    }
    std::promise<void> closed;
    if (seed % 2 == 0) {
      worker.close([&closed] { closed.set_value(); });
      closed.get_future().wait();
    } else {
      worker.stop();
    }
    canceller.join();
  }
  for (uint64_t id = 1; id <= kTasks; ++id) EXPECT(ok[id] + aborted[id] == 1 && delivered[id] >= ok[id]);
}

}  // namespace
}  // namespace deeplab

int main() {
  using namespace deeplab;
#define RUN(test) test(), std::puts(#test)
  RUN(jobs_are_done_in_order_each_before_the_next_starts);
  RUN(an_overlapping_job_alone_is_done_without_another_coming);
  RUN(the_next_job_starts_before_the_one_before_is_waited_for);
  RUN(a_job_that_is_done_at_once_does_not_wait_for_the_one_before);
  RUN(each_of_two_under_way_is_cancelled_by_itself);
  RUN(one_that_is_cancelled_while_it_starts_is_not_waited_for);
  RUN(one_that_waits_is_cancelled_at_once);
  RUN(a_failure_is_that_of_its_own_job);
  RUN(after_a_device_has_failed_nothing_is_started_on_it);
  RUN(no_memory_for_either_half_is_an_error_of_the_job);
  RUN(close_drains_what_is_under_way_and_what_waits);
  RUN(stop_waits_for_what_is_under_way_and_drops_what_waits);
  RUN(a_worker_that_cannot_be_set_up_takes_no_jobs);
  RUN(stop_ends_setting_up);
  RUN(stop_ends_waiting_for_cores_that_another_has);
  RUN(who_gives_up_waiting_holds_up_nobody);
  RUN(the_end_of_the_process_ends_jobs_and_set_ups);
  for (uint32_t seed = 1; seed <= 20; ++seed) nothing_is_lost_or_done_twice(seed);
  std::puts("nothing_is_lost_or_done_twice");
  RUN(tasks_that_fit_ride_together_in_the_order_of_their_submission);
  RUN(batches_are_powers_of_two_or_full);
  RUN(a_task_waits_for_company_and_a_full_batch_does_not);
  RUN(a_task_alone_waits_no_longer_than_it_must);
  RUN(what_is_under_way_is_waited_for_while_others_wait_for_company);
  RUN(interactive_tasks_come_before_bulk_and_wait_for_one_run_of_it_at_most);
  RUN(a_rider_is_cancelled_at_once_and_the_others_go_on);
  RUN(a_run_without_riders_left_is_cancelled);
  RUN(abort_ends_the_setting_up_and_everything_else_without_waiting);
  for (uint32_t seed = 1; seed <= 20; ++seed) no_rider_is_lost_or_done_twice(seed);
  std::puts("no_rider_is_lost_or_done_twice");
  return 0;
}

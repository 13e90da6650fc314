// The same of tasks that ride together, and of priorities.

#include "session/worker.h"
#include "worker_desk.h"

namespace deeplab {
namespace {

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

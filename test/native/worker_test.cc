// Holds native/session/worker.h to its word with jobs that are made up: some are done when they return, some leave a
// device going that this program plays. Prints a line per case; test/worker.test.ts runs it.

#include "session/worker.h"

#include <new>

#include "core/process_exit.h"
#include "core/threads.h"
#include "worker_desk.h"

namespace deeplab {
namespace {

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
  return 0;
}

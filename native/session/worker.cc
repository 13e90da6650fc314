#include "session/worker.h"

#include <algorithm>
#include <new>

#include "core/threads.h"

namespace deeplab {
namespace {

// Few sizes, because a network is compiled for each: the largest power of two, or all that there may be.
size_t batch_size(size_t waiting, size_t most) {
  if (waiting >= most) return most;
  size_t size = 1;
  while (size * 2 <= waiting) size *= 2;
  return size;
}

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

void Worker::start(SetUp set_up, Done started, std::function<void()> tear_down) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    started_ = true;
  }
  thread_ = std::thread(&Worker::thread_main, this, std::move(set_up), std::move(started), std::move(tear_down));
}

void Worker::submit(uint64_t id, Priority priority, std::shared_ptr<Task> task, TaskDone done) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!closing_) {
      queues_[static_cast<size_t>(priority)].push_back({id, std::move(task), std::move(done), Clock::now()});
      changed_.notify_all();
      return;
    }
  }
  done(error(Code::kClosed, name_, " is closed"), {});
}

void Worker::cancel(uint64_t id) {
  Entries taken;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto take_from = [&](Entries& entries) {
      const auto found =
          std::find_if(entries.begin(), entries.end(), [id](const Entry& entry) { return entry.id == id; });
      if (found != entries.end()) taken.splice(taken.begin(), entries, found);
    };
    for (Entries& queue : queues_) take_from(queue);
    for (Run& run : under_way_) {
      if (run.delivering) continue;
      if (run.shared()) {
        take_from(run.entries);
        if (run.entries.empty()) run.cancelled = true;
      } else if (run.entries.front().id == id) {
        run.cancelled = true;
      }
    }
  }
  wake_cancelled_leases();
  abort_entries(taken, error(Code::kAborted, "the request was aborted"));
}

void Worker::close(std::function<void()> closed) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    changed_.notify_all();
    if (!finished_) {
      closed_.push_back(std::move(closed));
      return;
    }
  }
  closed();
}

void Worker::stop() {
  abort();
  if (thread_.joinable()) thread_.join();
}

// At the process's end, while another thread may be in stop(): does not join.
void Worker::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return finished_ || !started_; });
}

void Worker::abort() {
  Entries abandoned;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    set_up_cancelled_ = true;
    for (Run& run : under_way_) run.cancelled = true;
    for (Entries& queue : queues_) abandoned.splice(abandoned.end(), queue);
    changed_.notify_all();
  }
  wake_cancelled_leases();
  abort_entries(abandoned, error(Code::kClosed, name_, " was closed"));
}

WorkerStats Worker::stats() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  WorkerStats stats;
  for (const Entries& queue : queues_) stats.queued += queue.size();
  for (const Run& run : under_way_) stats.running += run.entries.size();
  stats.batches = batches_;
  return stats;
}

void Worker::abort_entries(const Entries& entries, const Status& status) const {
  for (const Entry& entry : entries) entry.done(status, {});
}

void Worker::thread_main(SetUp set_up, const Done& started, const std::function<void()>& tear_down) {
  name_this_thread("deeplab");
  const Status status = guarded([&] { return set_up(set_up_cancelled_); });
  set_up = nullptr;  // and what it holds
  started(status);
  if (status.ok()) serve();
  tear_down();
  std::vector<std::function<void()>> closed;
  Entries late;  // submitted while the setting up failed
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = finished_ = true;
    changed_.notify_all();
    closed.swap(closed_);
    for (Entries& queue : queues_) late.splice(late.end(), queue);
  }
  abort_entries(late, error(Code::kClosed, name_, " is closed"));
  for (const auto& callback : closed) callback();
}

bool Worker::idle() const {
  return std::all_of(queues_.begin(), queues_.end(), [](const Entries& queue) { return queue.empty(); });
}

void Worker::serve() {
  while (true) {
    bool next = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      while (true) {
        changed_.wait(lock, [this] { return closing_ || !idle() || !under_way_.empty(); });
        if (idle() && under_way_.empty()) return;
        Clock::time_point due;
        next = gather(&due);
        // With nothing to start meanwhile, what is under way is waited for.
        if (next || !under_way_.empty()) break;
        changed_.wait_until(lock, due);
      }
    }
    if (next) begin(under_way_.back());
    if (!next || under_way_.size() == kMostUnderWay) {
      if (!under_way_.empty()) finish(under_way_.begin());
    }
  }
}

bool Worker::gather(Clock::time_point* due) {
  for (const Priority priority : {Priority::kInteractive, Priority::kBulk}) {
    Entries& queue = queues_[static_cast<size_t>(priority)];
    if (queue.empty()) continue;
    const auto is_bulk = [](const Run& run) { return run.priority == Priority::kBulk; };
    if (priority == Priority::kBulk && std::any_of(under_way_.begin(), under_way_.end(), is_bulk)) return false;

    // The oldest leads, and takes along what fits, in the order of submission.
    const Entries::iterator leader = queue.begin();
    std::vector<Entries::iterator> riders{leader};
    for (auto entry = std::next(leader); entry != queue.end() && riders.size() < policy_.max_batch; ++entry) {
      if (leader->task->takes(*entry->task)) riders.push_back(entry);
    }
    *due = leader->submitted + policy_.max_delay;
    // Bulk does not overtake what is interactive and waits for company: it would be in its way.
    if (riders.size() < policy_.max_batch && !closing_ && Clock::now() < *due) return false;

    riders.resize(batch_size(riders.size(), policy_.max_batch));
    Run& run = under_way_.emplace_back();
    run.priority = priority;
    run.started = Clock::now();
    for (const Entries::iterator rider : riders) {
      run.tasks.push_back(rider->task);
      run.entries.splice(run.entries.end(), queue, rider);
    }
    ++batches_[riders.size()];
    return true;
  }
  return false;
}

void Worker::begin(Run& run) {
  std::vector<Task*> riders;
  for (size_t i = 1; i < run.tasks.size(); ++i) riders.push_back(run.tasks[i].get());
  Task& leader = *run.tasks.front();
  Started started = failed_.ok() ? guarded([&] { return leader.start(riders, run.cancelled); }) : Started(failed_);
  if (const Status* outcome = std::get_if<Status>(&started))
    settle(std::prev(under_way_.end()), *outcome);
  else
    run.finish = std::move(std::get<Finish>(started));
}

void Worker::finish(Runs::iterator run) {
  const Status status = guarded(run->finish);
  run->finish = nullptr;  // and what it holds
  const bool too_late = status.ok() && run->cancelled;
  settle(run, too_late ? error(Code::kAborted, "the request was aborted while it ran") : status);
}

void Worker::settle(Runs::iterator run, const Status& status) {
  if (status.code() == Code::kDeviceFailed) failed_ = status;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    run->delivering = true;  // from here on nobody else takes entries out
  }
  std::vector<Status> outcomes;
  for (const Entry& entry : run->entries) {
    outcomes.push_back(status.ok() ? guarded([&] { return entry.task->deliver(); }) : status);
  }
  Runs settled;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    settled.splice(settled.begin(), under_way_, run);
  }
  const Clock::time_point now = Clock::now();
  size_t i = 0;
  for (const Entry& entry : run->entries) {
    const TaskTimes times{milliseconds(run->started - entry.submitted), milliseconds(now - run->started),
                          run->tasks.size()};
    entry.done(outcomes[i++], times);
  }
}

template <typename Call>
auto Worker::guarded(const Call& call) const -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return error(Code::kOutOfMemory, name_, " needs more memory than there is");
  }
}

}  // namespace deeplab

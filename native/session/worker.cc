#include "session/worker.h"

#include <algorithm>
#include <new>

#include "core/threads.h"

namespace deeplab {

void Worker::start(SetUp set_up, Done started, std::function<void()> tear_down) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    started_ = true;
  }
  thread_ = std::thread(&Worker::thread_main, this, std::move(set_up), std::move(started), std::move(tear_down));
}

void Worker::submit(uint64_t id, Job job, Done done) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!closing_) {
      queue_.emplace_back(id, std::move(job), std::move(done));
      changed_.notify_all();
      return;
    }
  }
  done(error(Code::kClosed, name_, " is closed"));
}

void Worker::cancel(uint64_t id) {
  Entries taken;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto has_id = [id](const Entry& entry) { return entry.id == id; };
    const auto running = std::find_if(under_way_.begin(), under_way_.end(), has_id);
    if (running != under_way_.end()) running->cancelled = true;
    const auto queued = std::find_if(queue_.begin(), queue_.end(), has_id);
    if (queued != queue_.end()) taken.splice(taken.begin(), queue_, queued);
  }
  wake_cancelled_leases();
  for (const Entry& entry : taken) entry.done(error(Code::kAborted, "the request was aborted before it ran"));
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
  abandon();
  if (thread_.joinable()) thread_.join();
}

// At the process's end, while another thread may be in stop(): does not join.
void Worker::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return finished_ || !started_; });
}

void Worker::abandon() {
  Entries abandoned;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    stopping_ = true;
    for (Entry& entry : under_way_) entry.cancelled = true;
    abandoned.swap(queue_);
    changed_.notify_all();
  }
  wake_cancelled_leases();
  for (const Entry& entry : abandoned) entry.done(error(Code::kClosed, name_, " was closed"));
}

void Worker::thread_main(SetUp set_up, const Done& started, const std::function<void()>& tear_down) {
  name_this_thread("deeplab");
  const Status status = guarded([&] { return set_up(stopping_); });
  set_up = nullptr;  // and what it holds
  started(status);
  if (status.ok()) serve();
  tear_down();
  std::vector<std::function<void()>> closed;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = finished_ = true;
    changed_.notify_all();
    closed.swap(closed_);
  }
  for (const auto& callback : closed) callback();
}

void Worker::serve() {
  while (true) {
    bool next = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty() || !under_way_.empty(); });
      if (queue_.empty() && under_way_.empty()) return;
      next = !queue_.empty();
      if (next) under_way_.splice(under_way_.end(), queue_, queue_.begin());
    }
    if (next) begin(std::prev(under_way_.end()));
    // With nothing to start meanwhile, or no room for it, the oldest is waited for.
    if (!next || under_way_.size() == kMostUnderWay) finish(under_way_.begin());
  }
}

void Worker::begin(Entries::iterator entry) {
  Started started = failed_.ok() ? guarded([&] { return entry->job(entry->cancelled); }) : Started(failed_);
  entry->job = nullptr;  // and what it holds
  if (const Status* outcome = std::get_if<Status>(&started))
    settle(entry, *outcome);
  else
    entry->finish = std::move(std::get<Finish>(started));
}

void Worker::finish(Entries::iterator entry) {
  const Status status = guarded(entry->finish);
  entry->finish = nullptr;  // and what it holds
  const bool too_late = status.ok() && entry->cancelled;
  settle(entry, too_late ? error(Code::kAborted, "the request was aborted while it ran") : status);
}

void Worker::settle(Entries::iterator entry, const Status& status) {
  if (status.code() == Code::kDeviceFailed) failed_ = status;
  Entries settled;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    settled.splice(settled.begin(), under_way_, entry);
  }
  settled.front().done(status);
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

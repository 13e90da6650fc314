#include "session/worker.h"

#include <algorithm>
#include <new>

#include "core/threads.h"

namespace deeplab {

void Worker::start(Job job, Done started, std::function<void()> finish) {
  thread_ = std::thread(&Worker::thread_main, this, Entry{0, std::move(job), std::move(started)}, std::move(finish));
}

void Worker::submit(uint64_t id, Job job, Done done) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!closing_) {
      queue_.push_back({id, std::move(job), std::move(done)});
      changed_.notify_all();
      return;
    }
  }
  done(error(Code::kClosed, name_, " is closed"));
}

void Worker::cancel(uint64_t id) {
  Entry entry;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (running_id_ == id) cancelled_ = true;
    const auto found = std::find_if(queue_.begin(), queue_.end(), [id](const auto& queued) { return queued.id == id; });
    if (found == queue_.end()) return;
    entry = std::move(*found);
    queue_.erase(found);
  }
  entry.done(error(Code::kAborted, "the request was aborted before it ran"));
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
  std::deque<Entry> abandoned;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    cancelled_ = true;
    abandoned.swap(queue_);
    changed_.notify_all();
  }
  for (const Entry& entry : abandoned) entry.done(error(Code::kClosed, name_, " was closed"));
  if (thread_.joinable()) thread_.join();
}

void Worker::thread_main(Entry first, const std::function<void()>& finish) {
  name_this_thread("deeplab");
  const Status status = run(first.job);
  first.job = nullptr;  // and what it holds
  first.done(status);
  if (status.ok()) serve();
  finish();
  std::vector<std::function<void()>> closed;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = finished_ = true;
    closed.swap(closed_);
  }
  for (const auto& callback : closed) callback();
}

void Worker::serve() {
  while (true) {
    Entry entry;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      entry = std::move(queue_.front());
      queue_.pop_front();
      running_id_ = entry.id;
      cancelled_ = false;
    }
    const Status status = run(entry.job);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      running_id_ = 0;
    }
    entry.done(status);
  }
}

Status Worker::run(const Job& job) {
  try {
    return job(cancelled_);
  } catch (const std::bad_alloc&) {
    return error(Code::kOutOfMemory, name_, " needs more memory than there is");
  }
}

}  // namespace deeplab

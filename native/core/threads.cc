#include "core/threads.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

namespace deeplab {
namespace {

// Who waits stands in a queue; a lease is granted to its head when enough cores are free. A large lease at the head
// therefore holds back small ones behind it, which is what keeps it from starving.
struct CoreBudget {
  std::mutex mutex;
  std::condition_variable changed;
  int free = available_cores();
  std::list<const CoreLease*> waiting;
};

CoreBudget& budget() {
  static CoreBudget* const instance = new CoreBudget();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

int available_cores() { return std::max(1u, std::thread::hardware_concurrency()); }

void name_this_thread(const char* name) { pthread_setname_np(pthread_self(), name); }

CoreLease::CoreLease(int threads, const std::atomic<bool>& cancelled)
    : cores_(std::clamp(threads, 1, available_cores())) {
  CoreBudget& shared = budget();
  std::unique_lock<std::mutex> lock(shared.mutex);
  const auto place = shared.waiting.insert(shared.waiting.end(), this);
  shared.changed.wait(lock, [&] { return cancelled || (shared.waiting.front() == this && shared.free >= cores_); });
  shared.waiting.erase(place);
  if (cancelled) cores_ = 0;
  shared.free -= cores_;
  shared.changed.notify_all();
}

CoreLease::~CoreLease() {
  CoreBudget& shared = budget();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.free += cores_;
  shared.changed.notify_all();
}

void wake_cancelled_leases() {
  CoreBudget& shared = budget();
  // Under the mutex, so that a lease that has just seen its flag false is asleep by now.
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.changed.notify_all();
}

}  // namespace deeplab

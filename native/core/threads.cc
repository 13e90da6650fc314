#include "core/threads.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace deeplab {
namespace {

// Turns are numbered; a lease is granted when its number is up and enough cores are free. A large lease at the head
// therefore holds back small ones behind it, which is what keeps it from starving.
struct CoreBudget {
  std::mutex mutex;
  std::condition_variable changed;
  int free = available_cores();
  uint64_t next_turn = 0;
  uint64_t turn_up = 0;
};

CoreBudget& budget() {
  static CoreBudget* const instance = new CoreBudget();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

int available_cores() { return std::max(1u, std::thread::hardware_concurrency()); }

void name_this_thread(const char* name) { pthread_setname_np(pthread_self(), name); }

CoreLease::CoreLease(int threads) : cores_(std::clamp(threads, 1, available_cores())) {
  CoreBudget& shared = budget();
  std::unique_lock<std::mutex> lock(shared.mutex);
  const uint64_t turn = shared.next_turn++;
  shared.changed.wait(lock, [&] { return shared.turn_up == turn && shared.free >= cores_; });
  shared.free -= cores_;
  ++shared.turn_up;
  shared.changed.notify_all();
}

CoreLease::~CoreLease() {
  CoreBudget& shared = budget();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.free += cores_;
  shared.changed.notify_all();
}

}  // namespace deeplab

#include "core/process_exit.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <set>

namespace deeplab {
namespace {

struct Guards {
  std::mutex mutex;
  std::set<const StopAtExit*> threads;
};

Guards& guards() {
  static Guards* const instance = new Guards();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

StopAtExit::StopAtExit(std::function<void()> stop, std::function<void()> wait)
    : stop_(std::move(stop)), wait_(std::move(wait)) {
  Guards& all = guards();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.threads.insert(this);
}

StopAtExit::~StopAtExit() {
  Guards& all = guards();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.threads.erase(this);
}

void stop_for_exit() {
  Guards& all = guards();
  const std::lock_guard<std::mutex> lock(all.mutex);
  for (const StopAtExit* thread : all.threads) thread->stop_();
  for (const StopAtExit* thread : all.threads) thread->wait_();
}

void expect_exit() {
  // A few networks, and oneDNN has constructed what it has; each call takes memory until the end.
  constexpr int kMostExpectations = 1000;
  // No mutex: a thread that is waited for calls this.
  static std::atomic<int> expectations{0};
  if (expectations.fetch_add(1) < kMostExpectations) std::atexit(stop_for_exit);
}

}  // namespace deeplab

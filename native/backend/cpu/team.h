// Threads that go through a computation of many short phases together. A parallel_for ends with a barrier at which
// OpenMP's threads go to sleep; a mean-field iteration has eight of them, of a millisecond each.
#pragma once

#include <omp.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace deeplab {

class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  // body(member) on every thread, member from 0 to threads() - 1. The bodies must not throw.
  template <typename Body>
  void run(const Body& body) {
#pragma omp parallel num_threads(threads_)
    {
#pragma omp single
      threads_ = omp_get_num_threads();  // OpenMP may give fewer; the barrier after `single` makes it known to all
      body(omp_get_thread_num());
    }
  }

  int threads() const { return threads_; }

  // Returns once every member has called it. Waits awake for as long as a phase's ends usually differ, then asleep: on
  // a busy machine the member that is waited for may need this core.
  void barrier() {
    constexpr int kSpins = 2000;
    const uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      next_part_.store(0, std::memory_order_relaxed);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        phase_.store(phase + 1, std::memory_order_release);
      }
      changed_.notify_all();
      return;
    }
    for (int i = 0; i < kSpins; ++i) {
      if (phase_.load(std::memory_order_acquire) != phase) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return phase_.load(std::memory_order_acquire) != phase; });
  }

  // body(part) for each part in [0, parts), done by whichever member comes next: one whose core is taken away for a
  // while holds up the others by a part, not by its share. Every member calls it; it returns when all parts are done.
  template <typename Body>
  void share(int64_t parts, const Body& body) {
    for (int64_t part = next_part_++; part < parts; part = next_part_++) body(part);
    barrier();
  }

  // Into how many parts work without parts of its own is best divided.
  int64_t parts() const { return threads_ == 1 ? 1 : 8 * threads_; }

 private:
  int threads_;
  std::atomic<int64_t> next_part_{0};
  std::atomic<int> arrived_{0};
  std::atomic<uint32_t> phase_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace deeplab

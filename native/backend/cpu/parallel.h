// Loops over all of a run's threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace deeplab {

// body(i) for every i in [0, count), in slices of consecutive i. The bodies must not throw, so they do not
// allocate.
template <typename Body>
void parallel_for(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

// body(first, count) for slices of `elements` elements, each worth a thread's while. The bodies must not throw.
template <typename Body>
void parallel_slices(int64_t elements, const Body& body) {
  constexpr int64_t kSlice = 1 << 14;
  parallel_for((elements + kSlice - 1) / kSlice, [&](int64_t slice) {
    const int64_t first = slice * kSlice;
    body(first, std::min(kSlice, elements - first));
  });
}

// Which of the run's threads this is, from 0: for scratch memory of one's own inside a parallel_for.
inline int thread_index() { return omp_get_thread_num(); }

}  // namespace deeplab

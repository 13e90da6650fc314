// Loops over all of a run's threads.
#pragma once

#include <omp.h>

#include <cstdint>

namespace deeplab {

// body(i) for every i in [0, count), in slices of consecutive i. The bodies must not throw, so they do not
// allocate.
template <typename Body>
void parallel_for(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

// Which of the run's threads this is, from 0: for scratch memory of one's own inside a parallel_for.
inline int thread_index() { return omp_get_thread_num(); }

}  // namespace deeplab

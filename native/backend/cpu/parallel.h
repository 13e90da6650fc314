// Loops over all of a run's threads.
#pragma once

#include <cstdint>

namespace deeplab {

// body(i) for every i in [0, count), in slices of consecutive i. The bodies must not throw.
template <typename Body>
void parallel_for(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace deeplab

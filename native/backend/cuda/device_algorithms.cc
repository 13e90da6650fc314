#include "backend/cuda/device_algorithms.h"

#ifdef __CUDACC__
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#else
#include <algorithm>
#include <numeric>
#include <vector>
#endif

namespace deeplab::cuda {

#ifdef __CUDACC__

Result<size_t> algorithm_scratch_bytes(int64_t count) {
  size_t sort = 0, sum = 0;
  const uint64_t* keys = nullptr;
  const uint32_t* values = nullptr;
  DEEPLAB_RETURN_IF_ERROR(check(cub::DeviceRadixSort::SortPairs(nullptr, sort, keys, static_cast<uint64_t*>(nullptr),
                                                                values, static_cast<uint32_t*>(nullptr), count),
                                "a sort"));
  DEEPLAB_RETURN_IF_ERROR(
      check(cub::DeviceScan::InclusiveSum(nullptr, sum, values, static_cast<uint32_t*>(nullptr), count), "a sum"));
  return std::max(sort, sum);
}

Status sort_pairs(Stream stream, void* scratch, size_t scratch_bytes, const uint64_t* keys, uint64_t* sorted_keys,
                  const uint32_t* values, uint32_t* sorted_values, int64_t count, int bits) {
  return check(cub::DeviceRadixSort::SortPairs(scratch, scratch_bytes, keys, sorted_keys, values, sorted_values, count,
                                               0, bits, stream),
               "a sort");
}

Status inclusive_sum(Stream stream, void* scratch, size_t scratch_bytes, const uint32_t* values, uint32_t* sums,
                     int64_t count) {
  return check(cub::DeviceScan::InclusiveSum(scratch, scratch_bytes, values, sums, count, stream), "a sum");
}

#else

Result<size_t> algorithm_scratch_bytes(int64_t) { return size_t{1}; }

Status sort_pairs(Stream, void*, size_t, const uint64_t* keys, uint64_t* sorted_keys, const uint32_t* values,
                  uint32_t* sorted_values, int64_t count, int bits) {
  const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
  for (int64_t i = 0; i < count; ++i) {
    sorted_keys[i] = keys[order[i]];
    sorted_values[i] = values[order[i]];
  }
  return Status();
}

Status inclusive_sum(Stream, void*, size_t, const uint32_t* values, uint32_t* sums, int64_t count) {
  std::partial_sum(values, values + count, sums);
  return Status();
}

#endif

}  // namespace deeplab::cuda

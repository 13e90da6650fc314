#include "backend/cuda/device_algorithms.h"

#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

namespace deeplab::cuda {

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

}  // namespace deeplab::cuda

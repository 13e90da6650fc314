// Sorting and summing on the device, by CUB. Deterministic.
#pragma once

#include "backend/cuda/device.h"

namespace deeplab::cuda {

// Bytes of scratch memory that either of the two needs for `count` elements.
Result<size_t> algorithm_scratch_bytes(int64_t count);

// Sorts `count` pairs stably by the lowest `bits` bits of their keys.
Status sort_pairs(Stream stream, void* scratch, size_t scratch_bytes, const uint64_t* keys, uint64_t* sorted_keys,
                  const uint32_t* values, uint32_t* sorted_values, int64_t count, int bits);

// sums[i] = values[0] + ... + values[i], for i in [0, count). May be in place.
Status inclusive_sum(Stream stream, void* scratch, size_t scratch_bytes, const uint32_t* values, uint32_t* sums,
                     int64_t count);

}  // namespace deeplab::cuda

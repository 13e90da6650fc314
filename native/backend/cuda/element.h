// The elements of activations and weights in memory. Arithmetic is in f32 throughout.
#pragma once

#include "backend/backend.h"
#include "core/dtype.h"
#include "crf/real.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace deeplab::cuda {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

DEEPLAB_INLINE float to_float(float value) { return value; }

DEEPLAB_INLINE float to_float(F16 value) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half(value.bits));
#else
  return float_from_f16(value.bits);
#endif
}

DEEPLAB_INLINE float to_float(BF16 value) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(uint32_t{value.bits} << 16);
#else
  return float_from_bf16(value.bits);
#endif
}

// Rounds to nearest, ties to even.
template <typename T>
DEEPLAB_INLINE T from_float(float value);

template <>
DEEPLAB_INLINE float from_float<float>(float value) {
  return value;
}

template <>
DEEPLAB_INLINE F16 from_float<F16>(float value) {
#ifdef __CUDA_ARCH__
  return {__half_as_ushort(__float2half_rn(value))};
#else
  return {f16_from_float(value)};
#endif
}

template <>
DEEPLAB_INLINE BF16 from_float<BF16>(float value) {
#ifdef __CUDA_ARCH__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  return {bf16_from_float(value)};
#endif
}

constexpr size_t element_bytes(Precision precision) {
  return precision == Precision::kF16 || precision == Precision::kBF16 ? sizeof(uint16_t) : sizeof(float);
}

// body(T()) for the element type of a precision: float, F16 or BF16.
template <typename Body>
auto with_element(Precision precision, const Body& body) {
  switch (precision) {
    case Precision::kF16: return body(F16());
    case Precision::kBF16: return body(BF16());
    default: return body(float());
  }
}

// a * b + c, on a GPU in one instruction. Unlike the CRF (crf/real.h), networks need no particular bits.
DEEPLAB_INLINE float multiply_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return a * b + c;
#endif
}

// Eight channels, which are loaded and stored at once.
template <typename T>
struct alignas(16) Eight {
  T values[8];
};

}  // namespace deeplab::cuda

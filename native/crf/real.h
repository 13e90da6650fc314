// The numbers of the CRF's mathematics. Its functions are templates over Real: a float, as in a CUDA kernel, or a
// vector of floats, a point or a class in each lane, as in the CPU's loops. The order of their operations is part of
// the interface, and no product is fused with a sum (-ffp-contract=off): every processor gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#define DEEPLAB_INLINE __host__ __device__ __forceinline__
#else
#define DEEPLAB_INLINE __attribute__((always_inline)) inline
#endif

// For a lambda's body, after its parameters.
#define DEEPLAB_INLINE_LAMBDA __attribute__((always_inline))

namespace deeplab {

// The integers that have a Real's bits: of vectors, what a comparison gives.
template <typename Real>
using BitsOf = std::conditional_t<std::is_same_v<Real, float>, uint32_t, decltype(Real{} < Real{})>;

template <typename To, typename From>
DEEPLAB_INLINE To reinterpret_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "bits are kept");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Adding this to a float shifts its fraction out, to the nearest integer, and leaves that integer in its low bits:
// 1.5 * 2^23, for numbers within 2^22 of zero.
constexpr float kIntegerMagic = 12582912.0f;
constexpr uint32_t kIntegerMagicBits = 0x4b400000;

// To the nearest integer, ties to even.
template <typename Real>
DEEPLAB_INLINE Real round_to_even(Real x) {
  return (x + kIntegerMagic) - kIntegerMagic;
}

}  // namespace deeplab

// Rows of classes in registers. A row is cut into slabs of up to 32 floats, so that a slab's sum stays in registers
// whatever the number of classes; a slab is vectors of 16 floats, the last of which may be shorter.
#pragma once

#include <cstdint>

#include "crf/real.h"

namespace deeplab {

template <int kLanes>
struct FloatVector {
  // GCC ignores __attribute__ with a template's argument here.
  using type [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;
};
template <>
struct FloatVector<1> {
  using type = float;
};

// kSize: 1, 4, 8, 16, 24 or 32.
template <int kSize>
struct Slab {
  static constexpr int kWidth = kSize;
  static constexpr int kWholes = (kSize - 1) / 16;  // vectors before the last
  static constexpr int kLast = kSize - 16 * kWholes;
  using Whole = FloatVector<16>::type;
  using Last = typename FloatVector<kLast>::type;
  Whole whole[kWholes == 0 ? 1 : kWholes] = {};
  Last last = {};

  DEEPLAB_INLINE static Slab load(const float* data) {
    Slab slab;
    for (int i = 0; i < kWholes; ++i) slab.whole[i] = *reinterpret_cast<const Whole*>(data + 16 * i);
    slab.last = *reinterpret_cast<const Last*>(data + 16 * kWholes);
    return slab;
  }
  DEEPLAB_INLINE void store(float* data) const {
    for (int i = 0; i < kWholes; ++i) *reinterpret_cast<Whole*>(data + 16 * i) = whole[i];
    *reinterpret_cast<Last*>(data + 16 * kWholes) = last;
  }

  // operation(vector, vector of each of `slabs`) for every vector.
  template <typename Operation, typename... Slabs>
  DEEPLAB_INLINE void apply(const Operation& operation, const Slabs&... slabs) {
    for (int i = 0; i < kWholes; ++i) operation(whole[i], slabs.whole[i]...);
    operation(last, slabs.last...);
  }

  DEEPLAB_INLINE void add(float factor, const Slab& other) {
    apply([factor](auto& sum, const auto& value) { sum = sum + value * factor; }, other);
  }
  DEEPLAB_INLINE void add(const Slab& factor, const Slab& other) {
    apply([](auto& sum, const auto& value, const auto& times) { sum = sum + value * times; }, other, factor);
  }

  // All floats combined, always in the same order.
  template <typename Combine>
  DEEPLAB_INLINE float reduce(const Combine& combine) const {
    if constexpr (kWholes == 0) {
      return reduce_lanes<kLast>(last, combine);
    } else {
      Whole wide = whole[0];
      for (int i = 1; i < kWholes; ++i) wide = combine(wide, whole[i]);
      if constexpr (kLast == 16) {
        return reduce_lanes<16>(Whole(combine(wide, last)), combine);
      } else {
        struct Halves {
          Last low, high;
        };
        const auto halves = reinterpret_bits<Halves>(wide);
        return reduce_lanes<kLast>(Last(combine(Last(combine(halves.low, halves.high)), last)), combine);
      }
    }
  }

 private:
  template <int kLanes, typename Combine>
  DEEPLAB_INLINE static float reduce_lanes(const typename FloatVector<kLanes>::type& lanes, const Combine& combine) {
    if constexpr (kLanes == 1) {
      return lanes;
    } else {
      using Half = typename FloatVector<kLanes / 2>::type;
      struct Halves {
        Half low, high;
      };
      const auto halves = reinterpret_bits<Halves>(lanes);
      return reduce_lanes<kLanes / 2>(Half(combine(halves.low, halves.high)), combine);
    }
  }
};

// Asks for a Row's cache lines.
template <typename Row>
DEEPLAB_INLINE void prefetch(const float* row) {
  __builtin_prefetch(row);
  if constexpr (Row::kWidth > 8) __builtin_prefetch(row + Row::kWidth - 1);
}

// body(slab, offset, stride) for the slabs of a row of `stride` floats: `slab` is a Slab of the right type, there for
// its type. Of a row that is one slab, the compiler knows the stride.
template <typename Body>
DEEPLAB_INLINE void for_each_slab(int64_t stride, const Body& body) {
  switch (stride) {
    case 1: return body(Slab<1>(), 0, 1);
    case 4: return body(Slab<4>(), 0, 4);
    case 8: return body(Slab<8>(), 0, 8);
    case 16: return body(Slab<16>(), 0, 16);
    case 24: return body(Slab<24>(), 0, 24);
    case 32: return body(Slab<32>(), 0, 32);
    default: break;
  }
  int64_t offset = 0;
  for (; offset + 32 <= stride; offset += 32) body(Slab<32>(), offset, stride);
  switch (stride - offset) {
    case 24: return body(Slab<24>(), offset, stride);
    case 16: return body(Slab<16>(), offset, stride);
    case 8: return body(Slab<8>(), offset, stride);
    default: return;
  }
}

}  // namespace deeplab

// Sixteen floats at a time, on whatever registers the processor has.
#pragma once

#include <cstdint>

namespace deeplab {

// One AVX-512 register, two of AVX2, four of NEON: the compiler splits it.
using Floats = float __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;

__attribute__((always_inline)) inline Floats load(const float* data) { return *reinterpret_cast<const Floats*>(data); }
__attribute__((always_inline)) inline void store(float* data, Floats values) {
  *reinterpret_cast<Floats*>(data) = values;
}

}  // namespace deeplab

// A function so marked is compiled for each instruction set, and the processor's best one is taken at run time. What it
// calls must be inlined into it, and a parallel loop must call it, not be in it. With DEEPLAB_ONE_VERSION, for the
// instruction set that the compiler was told (test/instruction-sets.test.ts).
#if defined(__x86_64__) && !defined(DEEPLAB_ONE_VERSION)
#define DEEPLAB_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DEEPLAB_MULTIVERSION
#endif

// SGD on the parameters, as a kernel: f32 values, and what the network computes with made of them.
#pragma once

#include "backend/cuda/element.h"

namespace deeplab::cuda {

// Parameters begin at multiples of this many elements, so that a block of that many has one owner.
constexpr int64_t kParameterBlock = 1024;

// How a parameter changes.
struct UpdateRule {
  float learning_rate, weight_decay;
};

// A thread for each element.
template <typename T>
struct UpdateKernel {
  const int32_t* owners;    // [blocks]
  const UpdateRule* rules;  // of each owner
  float momentum;
  float* values;
  float* momenta;
  float* gradients;
  T* computed;  // the values in the precision's elements; null: none

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const UpdateRule rule = rules[owners[i / kParameterBlock]];
    momenta[i] = momentum * momenta[i] + (gradients[i] + rule.weight_decay * values[i]);
    values[i] -= rule.learning_rate * momenta[i];
    gradients[i] = 0;
    if (computed != nullptr) computed[i] = from_float<T>(values[i]);
  }
};

// A thread for each element.
template <typename T>
struct ConvertKernel {
  const float* values;
  T* computed;

  DEEPLAB_INLINE void operator()(int64_t i) const { computed[i] = from_float<T>(values[i]); }
};

}  // namespace deeplab::cuda

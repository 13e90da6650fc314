// Layers that look at each channel by itself through a window, as kernels: depthwise convolution and pooling. A thread
// computes eight channels of an output pixel. All are bound by memory: neighbouring threads have neighbouring channels.
#pragma once

#include <cfloat>

#include "backend/cuda/element.h"
#include "graph/graph.h"

namespace deeplab::cuda {

// From [N,in_height,in_width,8 * in_eights] to [N,height,width,8 * eights].
struct WindowGeometry {
  int64_t in_height, in_width, in_eights;
  int64_t height, width, eights;
  int64_t kernel, stride, dilation;
  int64_t padding_top, padding_left;

  // visit(kernel element, eight channels of the input) for each element that meets the input; `i` is the thread's.
  template <typename T, typename Visit>
  DEEPLAB_INLINE void for_each(const Eight<T>* input, int64_t i, const Visit& visit) const {
    const int64_t eight = i % eights, x = i / eights % width, y = i / (eights * width) % height;
    const int64_t n = i / (eights * width * height);
    for (int64_t ky = 0; ky < kernel; ++ky) {
      const int64_t from_y = y * stride - padding_top + ky * dilation;
      if (from_y < 0 || from_y >= in_height) continue;
      for (int64_t kx = 0; kx < kernel; ++kx) {
        const int64_t from_x = x * stride - padding_left + kx * dilation;
        if (from_x < 0 || from_x >= in_width) continue;
        visit(ky * kernel + kx, input[((n * in_height + from_y) * in_width + from_x) * in_eights + eight]);
      }
    }
  }
};

constexpr float kRelu6Bound = 6;

DEEPLAB_INLINE float activated(float value, Activation activation) {
  if (activation == Activation::kNone) return value;
  const float positive = value > 0 ? value : 0.0f;
  return activation == Activation::kRelu6 && positive > kRelu6Bound ? kRelu6Bound : positive;
}

// y = activation(min(x, input_bound) * kernel + bias), sums in f32.
template <typename T>
struct DepthwiseKernel {
  WindowGeometry window;
  const Eight<T>* input;
  const Eight<T>* kernel;  // [kernel,kernel,eights]
  const Eight<T>* bias;    // [eights]; null: none
  float input_bound;       // kRelu6Bound, where the layer before left it to this one; else infinity
  Activation activation;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t eight = i % window.eights;
    float sums[8] = {};
    if (bias != nullptr) {
      const Eight<T> biases = bias[eight];
      for (int c = 0; c < 8; ++c) sums[c] = to_float(biases.values[c]);
    }
    window.for_each(input, i, [&](int64_t element, const Eight<T>& values) {
      const Eight<T> weights = kernel[element * window.eights + eight];
      for (int c = 0; c < 8; ++c) {
        const float value = to_float(values.values[c]);
        sums[c] = multiply_add(value > input_bound ? input_bound : value, to_float(weights.values[c]), sums[c]);
      }
    });
    Eight<T> result;
    for (int c = 0; c < 8; ++c) result.values[c] = from_float<T>(activated(sums[c], activation));
    output[i] = result;
  }
};

// min(x, kRelu6Bound), in place, a thread for eight.
template <typename T>
struct ClipKernel {
  Eight<T>* values;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    Eight<T> result = values[i];
    for (int c = 0; c < 8; ++c) {
      if (to_float(result.values[c]) > kRelu6Bound) result.values[c] = from_float<T>(kRelu6Bound);
    }
    values[i] = result;
  }
};

// What lies outside the input does not count.
template <typename T>
struct MaxPoolKernel {
  WindowGeometry window;
  const Eight<T>* input;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    float most[8];
    for (float& value : most) value = -FLT_MAX;
    window.for_each(input, i, [&](int64_t, const Eight<T>& values) {
      for (int c = 0; c < 8; ++c) {
        const float value = to_float(values.values[c]);
        most[c] = value > most[c] ? value : most[c];
      }
    });
    Eight<T> result;
    for (int c = 0; c < 8; ++c) result.values[c] = from_float<T>(most[c]);
    output[i] = result;
  }
};

// What lies outside the input counts as zeros.
template <typename T>
struct AveragePoolKernel {
  WindowGeometry window;
  const Eight<T>* input;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    float sums[8] = {};
    window.for_each(input, i, [&](int64_t, const Eight<T>& values) {
      for (int c = 0; c < 8; ++c) sums[c] += to_float(values.values[c]);
    });
    const auto area = static_cast<float>(window.kernel * window.kernel);
    Eight<T> result;
    for (int c = 0; c < 8; ++c) result.values[c] = from_float<T>(sums[c] / area);
    output[i] = result;
  }
};

}  // namespace deeplab::cuda

// Gradients of layers that are neither convolutions nor batch norms, as kernels. Each element of a gradient is gathered
// by one thread, always in the same order. Activations and their gradients are NHWC, channels in eights.
#pragma once

#include "backend/cuda/channel_reduction.h"
#include "backend/cuda/window_kernels.h"
#include "graph/training.h"

namespace deeplab::cuda {

// What changes from one step to the next, in device memory, so that the work of a step can be replayed.
struct StepValues {
  // Of the loss: the gradient of a logit is this, times the weight of its pixel's class, times (p - 1 or p).
  float loss_factor;
  // Of the gradient of a parameter, before it is added to what is there.
  float parameter_factor;
  uint64_t seed;
};

// i % divisor, in 32 bits where that will do: in 64 a GPU takes several times as long.
DEEPLAB_INLINE int64_t remainder_of(int64_t i, int64_t divisor) {
  return (i | divisor) >> 32 == 0 ? static_cast<uint32_t>(i) % static_cast<uint32_t>(divisor) : i % divisor;
}
DEEPLAB_INLINE int64_t quotient_of(int64_t i, int64_t divisor) {
  return (i | divisor) >> 32 == 0 ? static_cast<uint32_t>(i) / static_cast<uint32_t>(divisor) : i / divisor;
}

template <typename T>
DEEPLAB_INLINE Eight<T> zero_eight() {
  Eight<T> zero;
  for (int c = 0; c < 8; ++c) zero.values[c] = from_float<T>(0.0f);
  return zero;
}

template <typename T>
DEEPLAB_INLINE Eight<T> sum_of(const Eight<T>& a, const Eight<T>& b) {
  Eight<T> sum;
  for (int c = 0; c < 8; ++c) sum.values[c] = from_float<T>(to_float(a.values[c]) + to_float(b.values[c]));
  return sum;
}

template <typename T>
DEEPLAB_INLINE void store_eight(Eight<T>* to, const float (&values)[8], bool add) {
  Eight<T> result;
  for (int c = 0; c < 8; ++c) {
    result.values[c] = from_float<T>(add ? to_float(to->values[c]) + values[c] : values[c]);
  }
  *to = result;
}

// What of the gradient of an activation's output its input gets.
template <typename T>
DEEPLAB_INLINE Eight<T> passed_gradient(const Eight<T>* gradient, const Eight<T>* output, Activation activation,
                                        int64_t i) {
  Eight<T> passed = gradient[i];
  if (activation == Activation::kNone) return passed;
  const Eight<T> values = output[i];
  for (int c = 0; c < 8; ++c) {
    const float value = to_float(values.values[c]);
    const bool passes = value > 0 && (activation != Activation::kRelu6 || value < kRelu6Bound);
    if (!passes) passed.values[c] = from_float<T>(0.0f);
  }
  return passed;
}

// ---- Element by element: a thread for eight ----

template <typename T>
struct ActivateKernel {
  const Eight<T>* input;
  Activation activation;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const Eight<T> values = input[i];
    Eight<T> result;
    for (int c = 0; c < 8; ++c) result.values[c] = from_float<T>(activated(to_float(values.values[c]), activation));
    output[i] = result;
  }
};

// The input's gradient is the gradient where the activation passes it on; the two may be the same memory.
template <typename T>
struct PassGradientKernel {
  const Eight<T>* gradient;
  const Eight<T>* output;  // of the activation
  Activation activation;   // kNone: the gradient as it is
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const Eight<T> passed = passed_gradient(gradient, output, activation, i);
    input_gradient[i] = add ? sum_of(input_gradient[i], passed) : passed;
  }
};

constexpr int kMostSummed = 4;

// The sum of some activations; what there is already is one of them if `add`.
template <typename T>
struct SumKernel {
  const Eight<T>* inputs[kMostSummed];
  int count;
  bool add;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    float sums[8] = {};
    for (int k = 0; k < count; ++k) {
      const Eight<T> values = inputs[k][i];
      for (int c = 0; c < 8; ++c) sums[c] += to_float(values.values[c]);
    }
    store_eight(output + i, sums, add);
  }
};

// The same to f32 logits [N,h,w,classes], a thread for each.
template <typename T>
struct SumLogitsKernel {
  const T* inputs[kMostSummed];
  int count;
  bool add;
  int64_t classes, stride;  // channels of the inputs in memory
  float* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t pixel = quotient_of(i, classes), c = i - pixel * classes;
    float sum = add ? output[i] : 0.0f;
    for (int k = 0; k < count; ++k) sum += to_float(inputs[k][pixel * stride + c]);
    output[i] = sum;
  }
};

// x / (1 - rate), or zero where an element is dropped; backward the same of gradients. Elements are counted without
// those that fill channels up.
template <typename T>
struct DropoutKernel {
  const Eight<T>* input;
  int64_t eights, channels;
  float rate;
  const StepValues* step;
  NodeId node;
  bool add;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t pixel = quotient_of(i, eights), first = 8 * (i - pixel * eights);
    const uint64_t key = dropout_key(step->seed, node);
    const float factor = 1 / (1 - rate);
    const Eight<T> values = input[i];
    float results[8];
    for (int c = 0; c < 8; ++c) {
      const bool kept = first + c < channels && keeps_element(key, pixel * channels + first + c, rate);
      results[c] = kept ? to_float(values.values[c]) * factor : 0.0f;
    }
    store_eight(output + i, results, add);
  }
};

// ---- Windows: a thread for eight channels of a pixel of the input ----

// visit(pixel y, pixel x of the output, row and column in its window) for each window that this pixel of the input
// lies in.
struct WindowsAround {
  WindowGeometry window;

  template <typename Visit>
  DEEPLAB_INLINE void for_each(int64_t in_y, int64_t in_x, const Visit& visit) const {
    for (int64_t ky = 0; ky < window.kernel; ++ky) {
      const int64_t from_y = in_y + window.padding_top - ky * window.dilation;
      const int64_t y = from_y / window.stride;
      if (from_y < 0 || y * window.stride != from_y || y >= window.height) continue;
      for (int64_t kx = 0; kx < window.kernel; ++kx) {
        const int64_t from_x = in_x + window.padding_left - kx * window.dilation;
        const int64_t x = from_x / window.stride;
        if (from_x < 0 || x * window.stride != from_x || x >= window.width) continue;
        visit(y, x, ky, kx);
      }
    }
  }

  // Of a thread's eight: its place in the input.
  struct Place {
    int64_t eight, x, y, n;
  };
  DEEPLAB_INLINE Place place(int64_t i) const {
    const int64_t pixel = quotient_of(i, window.in_eights), row = quotient_of(pixel, window.in_width);
    const int64_t n = quotient_of(row, window.in_height);
    return {i - pixel * window.in_eights, pixel - row * window.in_width, row - n * window.in_height, n};
  }
  DEEPLAB_INLINE int64_t output_index(int64_t n, int64_t y, int64_t x, int64_t eight) const {
    return ((n * window.height + y) * window.width + x) * window.eights + eight;
  }
};

// A window's gradient goes to the first of its largest elements, row by row.
template <typename T>
struct MaxPoolGradientKernel {
  WindowsAround around;
  const Eight<T>* input;
  const Eight<T>* gradient;
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const WindowGeometry& window = around.window;
    const auto place = around.place(i);
    const Eight<T> own = input[i];
    float sums[8] = {};
    around.for_each(place.y, place.x, [&](int64_t y, int64_t x, int64_t ky, int64_t kx) {
      const int64_t index = around.output_index(place.n, y, x, place.eight);
      const int64_t element = ky * window.kernel + kx;
      bool most[8];
      for (bool& c : most) c = true;
      window.for_each(input, index, [&](int64_t other, const Eight<T>& values) {
        for (int c = 0; c < 8; ++c) {
          const float mine = to_float(own.values[c]), theirs = to_float(values.values[c]);
          if (other < element ? theirs >= mine : theirs > mine) most[c] = false;
        }
      });
      const Eight<T> values = gradient[index];
      for (int c = 0; c < 8; ++c) sums[c] += most[c] ? to_float(values.values[c]) : 0.0f;
    });
    store_eight(input_gradient + i, sums, add);
  }
};

template <typename T>
struct AveragePoolGradientKernel {
  WindowsAround around;
  const Eight<T>* gradient;
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const auto place = around.place(i);
    float sums[8] = {};
    around.for_each(place.y, place.x, [&](int64_t y, int64_t x, int64_t, int64_t) {
      const Eight<T> values = gradient[around.output_index(place.n, y, x, place.eight)];
      for (int c = 0; c < 8; ++c) sums[c] += to_float(values.values[c]);
    });
    const auto area = static_cast<float>(around.window.kernel * around.window.kernel);
    for (float& sum : sums) sum /= area;
    store_eight(input_gradient + i, sums, add);
  }
};

template <typename T>
struct DepthwiseGradientKernel {
  WindowsAround around;
  const Eight<T>* kernel;  // [kernel,kernel,eights]
  const Eight<T>* gradient;
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const WindowGeometry& window = around.window;
    const auto place = around.place(i);
    float sums[8] = {};
    around.for_each(place.y, place.x, [&](int64_t y, int64_t x, int64_t ky, int64_t kx) {
      const Eight<T> values = gradient[around.output_index(place.n, y, x, place.eight)];
      const Eight<T> weights = kernel[(ky * window.kernel + kx) * window.eights + place.eight];
      for (int c = 0; c < 8; ++c) {
        sums[c] = multiply_add(to_float(values.values[c]), to_float(weights.values[c]), sums[c]);
      }
    });
    store_eight(input_gradient + i, sums, add);
  }
};

// ---- Images and branches: a thread for eight channels of a pixel of the input's gradient ----

// Of the mean over each image.
template <typename T>
struct GlobalAverageGradientKernel {
  const Eight<T>* gradient;  // [N,eights]
  int64_t eights, area;
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t pixel = quotient_of(i, eights);
    const Eight<T> values = gradient[quotient_of(pixel, area) * eights + i - pixel * eights];
    float results[8];
    for (int c = 0; c < 8; ++c) results[c] = to_float(values.values[c]) / static_cast<float>(area);
    store_eight(input_gradient + i, results, add);
  }
};

// Of one input of a concatenation: its slice of the channels.
template <typename T>
struct ConcatGradientKernel {
  const T* gradient;
  int64_t out_channels;  // as they are in memory
  int64_t first, channels;
  int64_t eights;  // of the input
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t pixel = quotient_of(i, eights), channel = 8 * (i - pixel * eights);
    const T* values = gradient + pixel * out_channels + first + channel;
    float results[8] = {};
    for (int c = 0; c < 8 && channel + c < channels; ++c) results[c] = to_float(values[c]);
    store_eight(input_gradient + i, results, add);
  }
};

// The same of an input of one pixel, which was repeated: the sum over the image. A block for eight channels of an
// image.
template <typename T>
struct RepeatedGradientKernel {
  static constexpr int kThreads = kBlockThreads, kPhases = 2;
  struct State {};
  struct Shared {
    float sums[kThreads][8];
  };

  ConcatGradientKernel<T> slice;
  int64_t area;  // of an image

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    const int64_t n = block / slice.eights, channel = 8 * (block - n * slice.eights);
    if constexpr (kPhase == 0) {
      float sums[8] = {};
      for (int64_t pixel = n * area + thread; pixel < (n + 1) * area; pixel += kThreads) {
        const T* values = slice.gradient + pixel * slice.out_channels + slice.first + channel;
        for (int c = 0; c < 8 && channel + c < slice.channels; ++c) sums[c] += to_float(values[c]);
      }
      for (int c = 0; c < 8; ++c) shared.sums[thread][c] = sums[c];
    } else if (thread < 8) {
      float sum = 0;
      for (int k = 0; k < kThreads; ++k) sum += shared.sums[k][thread];
      T& out = slice.input_gradient[block].values[thread];
      out = from_float<T>(slice.add ? to_float(out) + sum : sum);
    }
  }
};

// ---- Parameters ----

// Sums of a gradient over all pixels, for the bias; writes over it what the activation passes on.
template <typename T>
struct BiasGradientTerm {
  using Partial = Totals<1>;
  using Sums = EightTotals<1>;

  const Eight<T>* output;
  Activation activation;
  Eight<T>* gradient;
  int64_t eights;

  DEEPLAB_INLINE void operator()(int64_t pixel, int64_t eight, Sums& sums) const {
    const int64_t i = pixel * eights + eight;
    const Eight<T> passed = passed_gradient(gradient, output, activation, i);
    for (int c = 0; c < 8; ++c) sums.values[0][c] += to_float(passed.values[c]);
    if (activation != Activation::kNone) gradient[i] = passed;
  }
};

// Sums of products, for one element of the kernel of a depthwise convolution.
template <typename T>
struct DepthwiseKernelTerm {
  using Partial = Totals<1>;
  using Sums = EightTotals<1>;

  WindowGeometry window;
  int64_t row, column;  // of the element
  const Eight<T>* input;
  const Eight<T>* gradient;

  DEEPLAB_INLINE void operator()(int64_t pixel, int64_t eight, Sums& sums) const {
    const int64_t out_row = quotient_of(pixel, window.width), x = pixel - out_row * window.width;
    const int64_t n = quotient_of(out_row, window.height), y = out_row - n * window.height;
    const int64_t in_y = y * window.stride - window.padding_top + row * window.dilation;
    const int64_t in_x = x * window.stride - window.padding_left + column * window.dilation;
    if (in_y < 0 || in_y >= window.in_height || in_x < 0 || in_x >= window.in_width) return;
    const Eight<T> values = input[((n * window.in_height + in_y) * window.in_width + in_x) * window.in_eights + eight];
    const Eight<T> passed = gradient[pixel * window.eights + eight];
    for (int c = 0; c < 8; ++c) {
      sums.values[0][c] = multiply_add(to_float(values.values[c]), to_float(passed.values[c]), sums.values[0][c]);
    }
  }
};

struct FinishParameterGradient {
  const StepValues* step;
  float* gradient;  // [channels]

  DEEPLAB_INLINE void operator()(int64_t channel, const Totals<1>& totals) const {
    gradient[channel] += totals.values[0] * step->parameter_factor;
  }
};

// A thread for each element.
template <typename T>
struct AddParameterGradientKernel {
  const T* computed;
  const StepValues* step;
  float* gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const { gradient[i] += to_float(computed[i]) * step->parameter_factor; }
};

}  // namespace deeplab::cuda

// Batch norm with what is fused into it, forward and backward, as kernels: y = activation(scale * x^ + shift +
// residual), where x^ = (x - mean) / sqrt(variance + eps). Activations are NHWC, channels in eights; those that only
// fill up have scale and shift zero and stay zero.
#pragma once

#include <cmath>

#include "backend/cuda/channel_reduction.h"
#include "backend/cuda/gradient_kernels.h"

namespace deeplab::cuda {

// Of each channel, in device memory, f32 [channels].
struct NormTables {
  float* mean;
  float* inverse;  // inverse_deviation(variance, eps)
  float* factor;   // scale * inverse
  // Backward: means over all pixels of the gradient of y, and of that times x^; the latter times `inverse`.
  float* mean_gradient;
  float* product_gradient;
};
constexpr int kNormTables = 5;

// Zero where the channel only fills up and eps is zero.
DEEPLAB_INLINE float inverse_deviation(float variance, float eps) {
  return variance + eps > 0 ? 1 / sqrtf(variance + eps) : 0.0f;
}

// The parameters, f32 [channels].
struct NormParameters {
  const float* scale;
  const float* shift;
  float* running_mean;
  float* running_variance;
};

template <typename T>
struct MomentsTerm {
  using Partial = Moments;
  struct Sums {
    float count, mean[8], squares[8];
    DEEPLAB_INLINE Moments at(int c) const { return {count, mean[c], squares[c]}; }
  };

  const Eight<T>* input;
  int64_t eights;

  DEEPLAB_INLINE void operator()(int64_t pixel, int64_t eight, Sums& sums) const {
    const Eight<T> values = input[pixel * eights + eight];
    sums.count += 1;
    const float share = 1 / sums.count;
    for (int c = 0; c < 8; ++c) {
      const float difference = to_float(values.values[c]) - sums.mean[c];
      sums.mean[c] += difference * share;
      sums.squares[c] += difference * (to_float(values.values[c]) - sums.mean[c]);
    }
  }
};

// A batch's statistics, which also go into the running ones, as PyTorch's do: the variance that is kept is that of a
// sample.
struct FinishMoments {
  NormTables tables;
  NormParameters parameters;
  float eps, momentum;

  DEEPLAB_INLINE void operator()(int64_t channel, const Moments& moments) const {
    const float variance = moments.squares / moments.count;
    const float inverse = inverse_deviation(variance, eps);
    tables.mean[channel] = moments.mean;
    tables.inverse[channel] = inverse;
    tables.factor[channel] = parameters.scale[channel] * inverse;
    const float sample = moments.count > 1 ? moments.squares / (moments.count - 1) : variance;
    float& mean = parameters.running_mean[channel];
    float& running = parameters.running_variance[channel];
    mean += momentum * (moments.mean - mean);
    running += momentum * (sample - running);
  }
};

// The tables of running statistics, a thread for each channel.
struct FrozenTablesKernel {
  NormTables tables;
  NormParameters parameters;
  float eps;

  DEEPLAB_INLINE void operator()(int64_t channel) const {
    const float inverse = inverse_deviation(parameters.running_variance[channel], eps);
    tables.mean[channel] = parameters.running_mean[channel];
    tables.inverse[channel] = inverse;
    tables.factor[channel] = parameters.scale[channel] * inverse;
  }
};

// y = activation((x - mean) * factor + shift + residual), a thread for eight.
template <typename T>
struct NormalizeChannelsKernel {
  const Eight<T>* input;
  const Eight<T>* residual;  // null: none
  int64_t eights;
  NormTables tables;
  const float* shift;
  Activation activation;
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t first = 8 * remainder_of(i, eights);
    const Eight<T> values = input[i];
    const Eight<T> added = residual == nullptr ? zero_eight<T>() : residual[i];
    Eight<T> result;
    for (int c = 0; c < 8; ++c) {
      const float centred = to_float(values.values[c]) - tables.mean[first + c];
      const float value = centred * tables.factor[first + c] + shift[first + c] + to_float(added.values[c]);
      result.values[c] = from_float<T>(activated(value, activation));
    }
    output[i] = result;
  }
};

// Sums of y's gradient, as the activation passes it on, and of that times x^. What is passed on is written over the
// gradient, and added to that of the residual.
template <typename T>
struct NormGradientTerm {
  using Partial = Totals<2>;
  using Sums = EightTotals<2>;

  const Eight<T>* input;
  const Eight<T>* output;
  Activation activation;
  Eight<T>* gradient;
  Eight<T>* residual_gradient;  // null: none, or it lies where `gradient` does
  int64_t eights;
  NormTables tables;

  DEEPLAB_INLINE void operator()(int64_t pixel, int64_t eight, Sums& sums) const {
    const int64_t i = pixel * eights + eight;
    const Eight<T> passed = passed_gradient(gradient, output, activation, i);
    const Eight<T> values = input[i];
    for (int c = 0; c < 8; ++c) {
      const float value = to_float(passed.values[c]);
      const float centred = to_float(values.values[c]) - tables.mean[8 * eight + c];
      sums.values[0][c] += value;
      sums.values[1][c] += value * (centred * tables.inverse[8 * eight + c]);
    }
    if (activation != Activation::kNone) gradient[i] = passed;
    if (residual_gradient != nullptr) residual_gradient[i] = sum_of(residual_gradient[i], passed);
  }
};

struct FinishNormGradient {
  NormTables tables;
  float pixels;
  const StepValues* step;
  float* scale_gradient;
  float* shift_gradient;

  DEEPLAB_INLINE void operator()(int64_t channel, const Totals<2>& totals) const {
    shift_gradient[channel] += totals.values[0] * step->parameter_factor;
    scale_gradient[channel] += totals.values[1] * step->parameter_factor;
    tables.mean_gradient[channel] = totals.values[0] / pixels;
    tables.product_gradient[channel] = totals.values[1] / pixels * tables.inverse[channel];
  }
};

// The gradient of x, from that of y as the activation has passed it on, a thread for eight.
template <typename T>
struct NormInputGradientKernel {
  const Eight<T>* gradient;
  const Eight<T>* input;
  int64_t eights;
  NormTables tables;
  bool add;
  Eight<T>* input_gradient;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t first = 8 * remainder_of(i, eights);
    const Eight<T> passed = gradient[i], values = input[i];
    const Eight<T> before = add ? input_gradient[i] : zero_eight<T>();
    Eight<T> result;
    for (int c = 0; c < 8; ++c) {
      const float centred = to_float(values.values[c]) - tables.mean[first + c];
      const float left =
          to_float(passed.values[c]) - tables.mean_gradient[first + c] - centred * tables.product_gradient[first + c];
      result.values[c] = from_float<T>(left * tables.factor[first + c] + to_float(before.values[c]));
    }
    input_gradient[i] = result;
  }
};

// The same of running statistics, which are constants: all of the backward pass, a thread for eight.
template <typename T>
struct FrozenNormGradientKernel {
  const Eight<T>* output;
  Activation activation;
  int64_t eights;
  NormTables tables;
  bool keep;  // writes over the gradient what the activation passes on
  Eight<T>* gradient;
  Eight<T>* residual_gradient;  // is added to; null: none, or it lies where `gradient` does
  bool add;
  Eight<T>* input_gradient;  // null: nobody asks

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t first = 8 * remainder_of(i, eights);
    const Eight<T> passed = passed_gradient(gradient, output, activation, i);
    if (keep) gradient[i] = passed;
    if (residual_gradient != nullptr) residual_gradient[i] = sum_of(residual_gradient[i], passed);
    if (input_gradient == nullptr) return;
    const Eight<T> before = add ? input_gradient[i] : zero_eight<T>();
    Eight<T> result;
    for (int c = 0; c < 8; ++c) {
      const float value = to_float(passed.values[c]) * tables.factor[first + c];
      result.values[c] = from_float<T>(value + to_float(before.values[c]));
    }
    input_gradient[i] = result;
  }
};

}  // namespace deeplab::cuda

// Batch norm with the sum and the activation behind it. By running statistics it is a scale and a shift per channel; by
// the batch's own (arXiv 1502.03167), two passes over memory either way.
#include <cmath>
#include <vector>

#include "backend/cpu/channel_loops.h"
#include "backend/cpu/element.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/training_step.h"

namespace deeplab {
namespace {

// Rows are divided in the same way however many threads there are, so that sums are the same.
constexpr int64_t kParts = 32;

template <typename Body>
void for_parts(const Rows& all, const Body& body) {
  parallel_for(kParts, [&](int64_t part) {
    const int64_t first = part * all.rows / kParts, last = (part + 1) * all.rows / kParts;
    body(part, first * all.channels, Rows{last - first, all.channels});
  });
}

// Of each channel, two sums over all rows: of parts in f32, of these in f64.
class ChannelSums {
 public:
  static size_t bytes(int64_t channels) { return 2 * kParts * channels * sizeof(float); }

  ChannelSums(float* scratch, int64_t channels) : parts_(scratch), channels_(channels) {}

  float* first(int64_t part) const { return parts_ + 2 * part * channels_; }
  float* second(int64_t part) const { return first(part) + channels_; }
  void clear(int64_t part) const { std::fill_n(first(part), 2 * channels_, 0.0f); }

  struct Pair {
    double first = 0, second = 0;
  };
  Pair total(int64_t channel) const {
    Pair sum;
    for (int64_t part = 0; part < kParts; ++part) {
      sum.first += first(part)[channel];
      sum.second += second(part)[channel];
    }
    return sum;
  }

 private:
  float* const parts_;
  const int64_t channels_;
};

struct Unit {
  const Rows rows;
  const float eps;
  const float momentum;
  const Activation activation;
  const bool trained;
  const bool residual;
  const GradientUse x_gradient;
  const GradientUse residual_gradient;
  const ParameterTensor scale, shift, mean, variance;

  // Rows of coefficients, each of a float per channel: what forward saves for backward.
  enum Saved { kMean, kInverse, kSavedRows };
  // What is made of them for a pass, behind the sums.
  enum Scratch { kFactor, kProductFactor, kConstant, kScratchRows };

  size_t scratch_bytes() const {
    return (kScratchRows * rows.channels) * sizeof(float) + ChannelSums::bytes(rows.channels);
  }

  template <typename T>
  void forward(const TrainingContext& context, const TrainingStepMemory& at) const {
    const T* x = context.at<T>(at.inputs[0]);
    auto* saved = context.at<float>(at.saved);
    auto* scratch = context.at<float>(at.forward_scratch);
    float* const means = saved + kMean * rows.channels;
    float* const inverses = saved + kInverse * rows.channels;
    if (trained) {
      measure(x, scratch + kScratchRows * rows.channels, means, inverses);
    } else {
      for (int64_t c = 0; c < rows.channels; ++c) {
        means[c] = mean.value[c];
        inverses[c] = static_cast<float>(1 / std::sqrt(static_cast<double>(variance.value[c]) + eps));
      }
    }
    float* const factor = scratch + kFactor * rows.channels;
    float* const constant = scratch + kConstant * rows.channels;
    for (int64_t c = 0; c < rows.channels; ++c) {
      factor[c] = scale.value[c] * inverses[c];
      constant[c] = shift.value[c] - means[c] * factor[c];
    }
    const T* added = residual ? context.at<T>(at.inputs[1]) : nullptr;
    T* y = context.at<T>(at.output);
    for_parts(rows, [&](int64_t, int64_t first, const Rows& part) {
      scale_channels(x + first, added == nullptr ? nullptr : added + first, part, factor, constant, activation,
                     y + first);
    });
  }

  // Mean and variance of the batch, into what is saved and into the running statistics; those have the variance of the
  // population, estimated (with a divisor one less).
  template <typename T>
  void measure(const T* x, float* scratch, float* means, float* inverses) const {
    const ChannelSums sums(scratch, rows.channels);
    // Differences from some value of the channel, so that squares of a large mean do not swallow a small variance.
    for (int64_t c = 0; c < rows.channels; ++c) means[c] = read_element(x[c]);
    for_parts(rows, [&](int64_t part, int64_t first, const Rows& its) {
      sums.clear(part);
      sum_channels(x + first, its, means, sums.first(part), sums.second(part));
    });
    const auto count = static_cast<double>(rows.rows);
    for (int64_t c = 0; c < rows.channels; ++c) {
      const auto [sum, squares] = sums.total(c);
      const double difference = sum / count;
      const double spread = std::max(squares / count - difference * difference, 0.0);
      const double batch_mean = means[c] + difference;
      means[c] = static_cast<float>(batch_mean);
      inverses[c] = static_cast<float>(1 / std::sqrt(spread + eps));
      const double estimate = rows.rows > 1 ? spread * count / (count - 1) : spread;
      mean.value[c] += static_cast<float>(momentum * (batch_mean - mean.value[c]));
      variance.value[c] += static_cast<float>(momentum * (estimate - variance.value[c]));
    }
  }

  template <typename T>
  void backward(const TrainingContext& context, const TrainingStepMemory& at) const {
    T* gradient = context.at<T>(at.gradient);
    const T* y = context.at<T>(at.output);
    const T* x = trained ? context.at<T>(at.inputs[0]) : nullptr;
    T* out = context.at<T>(at.input_gradients[0]);
    const auto* saved = context.at<float>(at.saved);
    auto* scratch = context.at<float>(at.backward_scratch);
    const float* const means = saved + kMean * rows.channels;
    const float* const inverses = saved + kInverse * rows.channels;
    float* const factor = scratch + kFactor * rows.channels;
    float* const product_factor = scratch + kProductFactor * rows.channels;
    float* const constant = scratch + kConstant * rows.channels;
    T* const added =
        residual && residual_gradient == GradientUse::kAdd ? context.at<T>(at.input_gradients[1]) : nullptr;
    const ChannelSums sums(scratch + kScratchRows * rows.channels, rows.channels);

    for_parts(rows, [&](int64_t part, int64_t first, const Rows& its) {
      mask_gradient(gradient + first, y + first, its.elements(), activation);
      if (added != nullptr) add_elements(gradient + first, its.elements(), true, added + first);
      if (!trained) return;
      sums.clear(part);
      sum_gradients(gradient + first, x + first, its, means, sums.first(part), sums.second(part));
    });
    const auto count = static_cast<double>(rows.rows);
    for (int64_t c = 0; c < rows.channels; ++c) {
      factor[c] = scale.value[c] * inverses[c];
      if (!trained) continue;
      const auto [sum, products] = sums.total(c);
      const double of_scale = products * inverses[c];  // the gradient of the scale, and of the shift: sum
      scale.gradient[c] += static_cast<float>(of_scale);
      shift.gradient[c] += static_cast<float>(sum);
      const double per_x = -factor[c] * inverses[c] * of_scale / count;
      product_factor[c] = static_cast<float>(per_x);
      constant[c] = static_cast<float>(-factor[c] * sum / count - per_x * means[c]);
    }
    if (x_gradient == GradientUse::kNone) return;
    for_parts(rows, [&](int64_t, int64_t first, const Rows& its) {
      combine_gradients(gradient + first, trained ? x + first : nullptr, its, factor, product_factor, constant,
                        x_gradient == GradientUse::kAdd, out + first);
    });
  }
};

}  // namespace

TrainingStep compile_batch_norm_unit(const TrainingCompiler& compiler, const TrainingNode& node,
                                     const BatchNormUnit& op) {
  const TrainingNetwork& network = compiler.network;
  const auto parameter = [&](const char* which) {
    return compiler.parameters[network.parameter(op.norm.name + which)];
  };
  const Shape& shape = node.output;
  const Unit unit{{shape.n * shape.h * shape.w, shape.c},
                  op.norm.eps,
                  network.options.batch_norm_momentum,
                  op.activation,
                  network.options.batch_norm == BatchNormMode::kTrained,
                  op.residual,
                  node.gradients[0],
                  op.residual ? node.gradients[1] : GradientUse::kNone,
                  parameter(".weight"),
                  parameter(".bias"),
                  parameter(".running_mean"),
                  parameter(".running_var")};
  TrainingStep step;
  step.implementation = "loop";
  step.saved_bytes = Unit::kSavedRows * shape.c * sizeof(float);
  step.forward_scratch_bytes = step.backward_scratch_bytes = unit.scratch_bytes();
  const bool bf16 = compiler.bf16();
  step.forward = [unit, bf16](const TrainingContext& context, const TrainingStepMemory& at) {
    bf16 ? unit.forward<uint16_t>(context, at) : unit.forward<float>(context, at);
  };
  step.backward = [unit, bf16](const TrainingContext& context, const TrainingStepMemory& at) {
    bf16 ? unit.backward<uint16_t>(context, at) : unit.backward<float>(context, at);
  };
  return step;
}

}  // namespace deeplab

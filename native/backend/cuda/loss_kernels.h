// Softmax cross-entropy of f32 logits [N,h,w,classes] against labels, and its gradient, as kernels. Every sum has one
// order: a step repeats bit by bit.
#pragma once

#include "backend/cuda/gradient_kernels.h"
#include "backend/cuda/head_kernels.h"

namespace deeplab::cuda {

// Labels of the image, uint8 [N,height,width], and what they weigh.
struct LossLabels {
  const uint8_t* labels;
  int64_t height, width;
  int ignored;           // a label that counts for nothing
  const float* weights;  // [classes]
  int64_t classes;

  DEEPLAB_INLINE int64_t at(int64_t n, int64_t y, int64_t x) const { return labels[(n * height + y) * width + x]; }
  DEEPLAB_INLINE float weight(int64_t label) const {
    return label == ignored || label >= classes ? 0.0f : weights[label];
  }
};

// log(sum(exp(logit))), of a pixel whose logits `logit(c)` gives.
template <typename Logits>
DEEPLAB_INLINE float log_of_sum(int64_t classes, const Logits& logit) {
  float most = logit(0);
  for (int64_t c = 1; c < classes; ++c) {
    const float value = logit(c);
    most = value > most ? value : most;
  }
  float sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += expf(logit(c) - most);
  return most + logf(sum);
}

// Each cell of the grid has the label of one of the image's pixels: -> its loss, and its logits' gradient.
template <typename T>
struct GridLoss {
  LossLabels labels;
  const float* logits;
  int64_t height, width;
  const int64_t* rows;     // [height]: the pixel of each cell
  const int64_t* columns;  // [width]
  const StepValues* step;
  int64_t stride;  // channels of the gradient in memory
  T* gradient;

  DEEPLAB_INLINE double operator()(int64_t i) const {
    const int64_t row = quotient_of(i, width), n = quotient_of(row, height);
    const int64_t label = labels.at(n, rows[row - n * height], columns[i - row * width]);
    const float weight = labels.weight(label);
    T* out = gradient + i * stride;
    if (weight == 0) {
      for (int64_t c = 0; c < stride; ++c) out[c] = from_float<T>(0.0f);
      return 0;
    }
    const float* cell = logits + i * labels.classes;
    const float log_sum = log_of_sum(labels.classes, [cell](int64_t c) { return cell[c]; });
    const float factor = weight * step->loss_factor;
    for (int64_t c = 0; c < stride; ++c) {
      const float difference = c < labels.classes ? expf(cell[c] - log_sum) - (c == label ? 1.0f : 0.0f) : 0.0f;
      out[c] = from_float<T>(difference * factor);
    }
    return double{weight} * (double{log_sum} - cell[label]);
  }
};

// Logits upsampled to the image: -> the loss of a pixel, and what its softmax is divided by.
struct ImageLoss {
  LossLabels labels;
  UpsampledLogits logits;
  float* log_sums;  // [N,H,W]

  DEEPLAB_INLINE double operator()(int64_t i) const {
    const int64_t label = labels.labels[i];
    const float weight = labels.weight(label);
    if (weight == 0) {
      log_sums[i] = 0;
      return 0;
    }
    const UpsampledLogits::Pixel pixel = logits.pixel(i);
    const float log_sum = log_of_sum(labels.classes, pixel);
    log_sums[i] = log_sum;
    return double{weight} * (double{log_sum} - pixel(label));
  }
};

// Pixels [first, end) of the image, along one axis, that a cell of the grid has a part in.
struct TapRange {
  int64_t first, end;
};

// The gradient of the logits, gathered from the pixels around each cell: a thread for each channel in memory.
template <typename T>
struct ImageLossGradientKernel {
  LossLabels labels;
  UpsampledLogits logits;
  const float* log_sums;
  const TapRange* rows;     // [grid_height]
  const TapRange* columns;  // [grid_width]
  const StepValues* step;
  int64_t stride;  // channels of the gradient in memory
  T* gradient;

  DEEPLAB_INLINE static float part(const BilinearTap& tap, int64_t cell) {
    return (tap.low == cell ? 1 - tap.fraction : 0.0f) + (tap.high == cell ? tap.fraction : 0.0f);
  }

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t cell = quotient_of(i, stride), c = i - cell * stride;
    if (c >= labels.classes) {
      gradient[i] = from_float<T>(0.0f);
      return;
    }
    const int64_t grid_row = quotient_of(cell, logits.grid_width), column = cell - grid_row * logits.grid_width;
    const int64_t n = quotient_of(grid_row, logits.grid_height), row = grid_row - n * logits.grid_height;
    float sum = 0;
    for (int64_t y = rows[row].first; y < rows[row].end; ++y) {
      float row_sum = 0;
      for (int64_t x = columns[column].first; x < columns[column].end; ++x) {
        const int64_t pixel = (n * labels.height + y) * labels.width + x, label = labels.labels[pixel];
        const float weight = labels.weight(label);
        if (weight == 0) continue;
        const float difference = expf(logits.pixel(pixel)(c) - log_sums[pixel]) - (c == label ? 1.0f : 0.0f);
        row_sum += part(logits.columns[x], column) * (weight * difference);
      }
      sum += part(logits.rows[y], row) * row_sum;
    }
    gradient[i] = from_float<T>(sum * step->loss_factor);
  }
};

// The sum of value(i) for i in [0, count): of each block, and then of all blocks by one block.
template <typename Value>
struct SumBlocksKernel {
  static constexpr int kThreads = kBlockThreads, kPhases = 3, kParts = 16;
  static constexpr int64_t kMostBlocks = 1024;
  struct State {};
  struct Shared {
    double threads[kThreads], parts[kParts];
  };

  int64_t count, blocks;
  Value value;
  double* sums;  // [blocks]

  static int64_t blocks_of(int64_t count) { return std::clamp<int64_t>(blocks_for(count), 1, kMostBlocks); }

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    constexpr int kEach = kThreads / kParts;
    if constexpr (kPhase == 0) {
      double sum = 0;
      for (int64_t i = element_of(block, thread); i < count; i += blocks * kThreads) sum += value(i);
      shared.threads[thread] = sum;
    } else if constexpr (kPhase == 1) {
      if (thread >= kParts) return;
      double sum = 0;
      for (int k = 0; k < kEach; ++k) sum += shared.threads[thread * kEach + k];
      shared.parts[thread] = sum;
    } else if (thread == 0) {
      double sum = 0;
      for (const double part : shared.parts) sum += part;
      sums[block] = sum;
    }
  }
};

struct StoredSums {
  const double* sums;
  DEEPLAB_INLINE double operator()(int64_t i) const { return sums[i]; }
};

// `scratch` has room for sum_scratch_bytes(count).
inline size_t sum_scratch_bytes(int64_t count) {
  return SumBlocksKernel<StoredSums>::blocks_of(count) * sizeof(double);
}

template <typename Value>
Status sum_all(Stream stream, int64_t count, const Value& value, double* scratch, double* sum) {
  using Kernel = SumBlocksKernel<Value>;
  const int64_t blocks = Kernel::blocks_of(count);
  DEEPLAB_RETURN_IF_ERROR(launch_blocks(stream, blocks, Kernel{count, blocks, value, scratch}));
  return launch_blocks(stream, 1, SumBlocksKernel<StoredSums>{blocks, 1, {scratch}, sum});
}

}  // namespace deeplab::cuda

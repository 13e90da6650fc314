// Layers that cuDNN does not do, as kernels: preprocessing, the ASPP's sum, logits of several branches and given ones.
// Activations are NHWC, channels in eights.
#pragma once

#include "backend/bilinear.h"
#include "backend/cuda/convolution.h"
#include "backend/cuda/element.h"
#include "graph/graph.h"

namespace deeplab::cuda {

// uint8 [N,H,W,channels] -> [N,height,width,kOut], a thread for each pixel of the output.
template <typename T, int kOut>
struct NormalizeKernel {
  const uint8_t* pixels;
  int64_t image_height, image_width, image_channels;
  int64_t resized_height, resized_width;  // beyond, up to height and width, are zeros
  int64_t height, width;
  const BilinearTap* rows;     // [resized_height]
  const BilinearTap* columns;  // [resized_width]
  bool bgr;
  float value_scale;
  float mean[3], std[3];
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t x = i % width, y = i / width % height, n = i / (width * height);
    Eight<T> values[kOut / 8];
    for (int c = 0; c < kOut; ++c) values[c / 8].values[c % 8] = from_float<T>(0.0f);
    if (x < resized_width && y < resized_height) {
      const uint8_t* image = pixels + n * image_height * image_width * image_channels;
      const uint8_t* low_row = image + rows[y].low * image_width * image_channels;
      const uint8_t* high_row = image + rows[y].high * image_width * image_channels;
      for (int c = 0; c < 3; ++c) {
        const int from = image_channels == 1 ? 0 : (bgr ? 2 - c : c);
        const int64_t low = columns[x].low * image_channels + from, high = columns[x].high * image_channels + from;
        const float top = low_row[low] + static_cast<float>(low_row[high] - low_row[low]) * columns[x].fraction;
        const float bottom = high_row[low] + static_cast<float>(high_row[high] - high_row[low]) * columns[x].fraction;
        const float value = (top + (bottom - top) * rows[y].fraction) * value_scale;
        values[0].values[c] = from_float<T>((value - mean[c]) / std[c]);
      }
    }
    for (int j = 0; j < kOut / 8; ++j) output[i * (kOut / 8) + j] = values[j];
  }
};

// A normalized image [N,in_height,in_width,kChannels] at another size, a thread for each pixel of the output.
template <typename T, int kChannels>
struct ResizeKernel {
  const Eight<T>* input;
  int64_t in_height, in_width;
  int64_t height, width;
  const BilinearTap* rows;     // [height]
  const BilinearTap* columns;  // [width]
  Eight<T>* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    constexpr int kEights = kChannels / 8;
    const BilinearTap column = columns[i % width], row = rows[i / width % height];
    const Eight<T>* image = input + i / (width * height) * in_height * in_width * kEights;
    const Eight<T>* top = image + row.low * in_width * kEights;
    const Eight<T>* bottom = image + row.high * in_width * kEights;
    const int64_t low = column.low * kEights, high = column.high * kEights;
    for (int j = 0; j < kEights; ++j) {
      Eight<T> values;
      for (int c = 0; c < 8; ++c) {
        const float top_low = to_float(top[low + j].values[c]), bottom_low = to_float(bottom[low + j].values[c]);
        const float above = top_low + (to_float(top[high + j].values[c]) - top_low) * column.fraction;
        const float below = bottom_low + (to_float(bottom[high + j].values[c]) - bottom_low) * column.fraction;
        values.values[c] = from_float<T>(above + (below - above) * row.fraction);
      }
      output[i * kEights + j] = values;
    }
  }
};

// f32 logits on several grids -> those on the first one, a thread for each logit.
struct FuseLogitsKernel {
  static constexpr int kMost = 16;
  struct Input {
    const float* logits;  // [N,height,width,classes]
    int64_t height, width;
    const BilinearTap* rows;     // [height of the grid]
    const BilinearTap* columns;  // [width of the grid]
  };

  Input inputs[kMost];
  int count;
  FuseRule rule;
  int64_t height, width, classes;
  float* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t c = i % classes, x = i / classes % width, y = i / (classes * width) % height;
    const int64_t n = i / (classes * width * height);
    float fused = 0;
    for (int k = 0; k < count; ++k) {
      const Input& input = inputs[k];
      const BilinearTap row = input.rows[y], column = input.columns[x];
      const float* image = input.logits + n * input.height * input.width * classes + c;
      const float* low = image + column.low * classes;
      const float* high = image + column.high * classes;
      const int64_t top = row.low * input.width * classes, bottom = row.high * input.width * classes;
      const float left = low[top] + (low[bottom] - low[top]) * row.fraction;
      const float right = high[top] + (high[bottom] - high[top]) * row.fraction;
      const float value = left + (right - left) * column.fraction;
      if (rule == FuseRule::kMax) {
        fused = k == 0 || value > fused ? value : fused;
      } else {
        fused += value;
      }
    }
    output[i] = rule == FuseRule::kMean ? fused / static_cast<float>(count) : fused;
  }
};

// Products [N,h,w,stride] of every tap and class -> f32 logits [N,h,w,classes], a thread for each logit.
template <typename T>
struct ShiftedAddKernel {
  const T* products;
  int64_t stride;
  const Tap* taps;
  int64_t tap_count;
  int64_t height, width, classes;
  float* logits;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t c = i % classes, pixel = i / classes;
    const int64_t x = pixel % width, y = pixel / width % height;
    float sum = 0;
    for (int64_t tap = 0; tap < tap_count; ++tap) {
      const int64_t dy = taps[tap].dy, dx = taps[tap].dx;
      if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
      sum += to_float(products[(pixel + dy * width + dx) * stride + tap * classes + c]);
    }
    logits[i] = sum;
  }
};

// The run's own logits [N,classes,area] -> [N,area,classes], a thread for each logit.
struct GivenLogitsKernel {
  const float* given;
  int64_t area, classes;
  float* logits;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t c = i % classes, pixel = i / classes % area, n = i / (classes * area);
    logits[i] = given[(n * classes + c) * area + pixel];
  }
};

}  // namespace deeplab::cuda

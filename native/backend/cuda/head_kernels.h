// From logits on a coarse grid to what a user sees, fused: logits at the image's size are never in memory. Bilinear, in
// the same order of operations as the CPU's.
#pragma once

#include <cmath>

#include "backend/bilinear.h"
#include "backend/cuda/device.h"
#include "crf/unary.h"

namespace deeplab::cuda {

// Logits at the size of the image, from f32 [N,h,w,classes].
struct UpsampledLogits {
  const float* logits;
  int64_t grid_height, grid_width, classes;
  int64_t height, width;       // of the image
  const BilinearTap* rows;     // [height]
  const BilinearTap* columns;  // [width]

  // Of pixel i of [N,height,width].
  struct Pixel {
    const float *top_left, *top_right, *bottom_left, *bottom_right;
    float down, right;

    DEEPLAB_INLINE float operator()(int64_t c) const {
      const float a = top_left[c] + (bottom_left[c] - top_left[c]) * down;
      const float b = top_right[c] + (bottom_right[c] - top_right[c]) * down;
      return a + (b - a) * right;
    }
  };

  DEEPLAB_INLINE Pixel pixel(int64_t i) const {
    const BilinearTap column = columns[i % width], row = rows[i / width % height];
    const float* image = logits + i / (width * height) * grid_height * grid_width * classes;
    const float* top = image + row.low * grid_width * classes;
    const float* bottom = image + row.high * grid_width * classes;
    return {top + column.low * classes,
            top + column.high * classes,
            bottom + column.low * classes,
            bottom + column.high * classes,
            row.fraction,
            column.fraction};
  }
};

// A thread for each pixel: the class of the largest logit, the first one of equals.
struct LabelsKernel {
  UpsampledLogits logits;
  uint8_t* labels;  // [N,H,W]

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const UpsampledLogits::Pixel pixel = logits.pixel(i);
    float most = pixel(0);
    int64_t best = 0;
    for (int64_t c = 1; c < logits.classes; ++c) {
      const float value = pixel(c);
      if (value > most) {
        most = value;
        best = c;
      }
    }
    labels[i] = static_cast<uint8_t>(best);
  }
};

// Softmax, a thread for each pixel.
struct ScoresKernel {
  UpsampledLogits logits;
  float* scores;  // [N,classes,H,W]

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const UpsampledLogits::Pixel pixel = logits.pixel(i);
    const int64_t area = logits.height * logits.width;
    float most = pixel(0);
    for (int64_t c = 1; c < logits.classes; ++c) {
      const float value = pixel(c);
      most = value > most ? value : most;
    }
    float sum = 0;
    for (int64_t c = 0; c < logits.classes; ++c) sum += expf(pixel(c) - most);
    float* out = scores + i / area * logits.classes * area + i % area;
    for (int64_t c = 0; c < logits.classes; ++c) out[c * area] = expf(pixel(c) - most) / sum;
  }
};

// The unary potentials of one image for a CRF, a thread for each pixel.
struct UnaryKernel {
  UpsampledLogits logits;
  int64_t stride;
  float* unary;  // [H * W, stride]

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const UpsampledLogits::Pixel pixel = logits.pixel(i);
    const float log_sum = log_sum_exp(logits.classes, pixel);
    float* row = unary + i * stride;
    for (int64_t c = 0; c < logits.classes; ++c) row[c] = energy_of_logit(pixel(c), log_sum);
    for (int64_t c = logits.classes; c < stride; ++c) row[c] = kPaddingEnergy;
  }
};

// [N,h,w,classes] -> [N,classes,h,w], a thread for each logit of the output.
struct LogitsKernel {
  const float* logits;
  int64_t area, classes;
  float* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t pixel = i % area, c = i / area % classes, n = i / (area * classes);
    output[i] = logits[(n * area + pixel) * classes + c];
  }
};

}  // namespace deeplab::cuda

// From a network's f32 logits [N,h,w,classes] to what a user sees, at the image's size.
#pragma once

#include <memory>

#include "backend/cuda/table.h"
#include "core/tensor.h"
#include "graph/shapes.h"

namespace deeplab::cuda {

class SegmentationHead {
 public:
  static Result<std::shared_ptr<const SegmentationHead>> create(Stream stream, const deeplab::SegmentationHead& op,
                                                                const Shape& logits, const Shape& image);

  int64_t classes() const { return logits_.c; }
  int64_t logits_elements() const { return logits_.elements(); }

  Status write_labels(Stream stream, const float* logits, uint8_t* labels) const;  // [N,H,W]
  Status write_scores(Stream stream, const float* logits, float* scores) const;    // [N,classes,H,W], softmax
  Status write_logits(Stream stream, const float* logits, float* output) const;    // [N,classes,h,w]
  // The unary potentials of image `n`, for a CRF: [H * W, row_stride(classes)].
  Status write_unary(Stream stream, const float* logits, int64_t n, float* unary) const;

 private:
  SegmentationHead(const Shape& logits, const Shape& image, DeviceTaps taps)
      : logits_(logits), image_(image), taps_(std::move(taps)) {}

  const Shape logits_;
  const Shape image_;
  const DeviceTaps taps_;
};

}  // namespace deeplab::cuda

// The layers that oneDNN has no primitive for, as plain parallel loops: preprocessing, image-level features, the ASPP's
// sum and concatenation, scales, and the head.
#pragma once

#include "backend/cpu/step.h"
#include "graph/shapes.h"

namespace deeplab {

// uint8 [N,H,W,channels] -> [N,h,w,3] in `precision`.
Step compile_normalize(const Normalize& op, const Shape& image, Precision precision);

// f32 [N,h,w,taps * classes] -> f32 [N,h,w,classes].
Step compile_shifted_add(const ShiftedAdd& op, const Shape& output);

// [N,h,w,3] in `precision`, to the size of `output`.
Step compile_resize(const Resize& op, const Shape& input, const Shape& output, Precision precision);

// [N,h,w,C] in `precision` -> [N,1,1,C].
Step compile_global_average_pool(const Shape& input, Precision precision);

// [N,h,w,C1], [N,h,w,C2], ... in `precision` -> [N,h,w,C1 + C2 + ...]; inputs of one pixel are repeated.
Step compile_concat(const std::vector<Shape>& inputs, const Shape& output, Precision precision);

// f32 logits [N,h,w,classes] of each input -> f32 of the first one's shape.
Step compile_fuse_logits(const FuseLogits& op, const std::vector<Shape>& inputs);

// The run's own logits, [N,classes,h,w] -> f32 [N,h,w,classes].
Step compile_given_logits(const Shape& output);

// f32 logits [N,h,w,classes] -> the run's labels, scores and logits.
Step compile_segmentation_head(const SegmentationHead& op, const Shape& logits, const Shape& image, int threads);

}  // namespace deeplab

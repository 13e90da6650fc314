// The layers that oneDNN has no primitive for, as plain parallel loops: preprocessing, the ASPP's sum, and the head.
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

// f32 logits [N,h,w,classes] of each scale -> f32 of the first one's shape.
Step compile_fuse_scales(const FuseScales& op, const std::vector<Shape>& inputs);

// f32 logits [N,h,w,classes] -> the run's labels, scores and logits.
Step compile_segmentation_head(const Shape& logits, const Shape& image, const InputGeometry& geometry, int threads);

}  // namespace deeplab

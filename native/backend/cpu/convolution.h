// Convolutions and pooling through oneDNN.
#pragma once

#include "backend/cpu/packed_weights.h"
#include "backend/cpu/step.h"

namespace deeplab {

struct LayerCompiler {
  const Safetensors& file;
  PackedWeights& weights;
  const NetworkOptions& options;
};

// [N,C,H,W] stored as NHWC.
dnnl::memory::desc nhwc(const Shape& shape, dnnl::memory::data_type type);

Result<Step> compile_convolution(const LayerCompiler& compiler, const Conv2d& op, const Shape& input,
                                 const Shape& output);

// The products of an ASPP's taps, always written in f32.
Result<Step> compile_atrous_taps(const LayerCompiler& compiler, const AtrousTaps& op, const Shape& input,
                                 const Shape& output);

// MaxPool or AveragePool.
Result<Step> compile_pooling(const LayerCompiler& compiler, dnnl::algorithm algorithm, const Window& window,
                             const Shape& input, const Shape& output);

}  // namespace deeplab

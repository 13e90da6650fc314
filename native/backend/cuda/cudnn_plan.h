// A convolution with what is fused into it, as an operation graph of cuDNN; the engines that can run it; and plans, an
// engine ready to run. Nothing here needs a device: it is described by a descriptor, which comes from a device or, in
// tests, from a description in JSON.
#pragma once

#include "backend/cuda/convolution.h"
#include "backend/cuda/cudnn_graph.h"

namespace deeplab::cuda {

// Which memory is whose, when a plan runs.
enum ConvTensor : int64_t { kInput = 1, kKernel, kBias, kResidual, kOutput, kGradient = 16 };

// Of the device that a handle was made on.
Result<Descriptor> device_properties(const Cudnn& cudnn, cudnnHandle_t handle);

Result<Descriptor> convolution_graph(const Cudnn& cudnn, const ConvSpec& spec);

// How an engine computes a graph: which one it is, and its settings.
struct EngineConfig {
  Descriptor descriptor;
  int64_t engine = 0;
  bool tensor_cores = false;
};

// Those that cuDNN proposes, the best first by its own estimate, then, where these are few, all others with their
// default settings; without those whose results are not what the precision promises, or not the same every time.
Result<std::vector<EngineConfig>> engine_configs(const Cudnn& cudnn, const Descriptor& device, const Descriptor& graph,
                                                 const ConvSpec& spec);

// ERR_UNSUPPORTED_MODEL where an engine turns out not to support its graph, which is nothing unusual.
Result<Descriptor> make_plan(const Cudnn& cudnn, const Descriptor& device, const EngineConfig& config);

Result<int64_t> plan_workspace_bytes(const Descriptor& plan);

// A plan as JSON, with the compiled kernels in it, and back.
Result<std::string> write_plan(const Descriptor& plan);
Result<Descriptor> read_plan(const Cudnn& cudnn, const Descriptor& device, const std::string& json);

}  // namespace deeplab::cuda

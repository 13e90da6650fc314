// One operation of a training step on a device, ready to run forward and backward: training_convolution.cc,
// training_batch_norm.cc, training_layers.cc, cross_entropy.cc.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "backend/cuda/gradient_kernels.h"
#include "backend/cuda/layers.h"
#include "backend/cuda/training_parameters.h"

namespace deeplab::cuda {

// What an operation finds when it runs, all in device memory. Activations and their gradients are NHWC in the
// precision's elements, channels in eights, the last ones zero; but logits are f32 [N,h,w,classes].
struct TrainingContext {
  Stream stream = nullptr;
  std::byte* arena = nullptr;  // offsets into it were planned
  const uint8_t* pixels = nullptr;
  const uint8_t* labels = nullptr;
  const StepValues* step = nullptr;
  double* loss = nullptr;  // its sum over all pixels, each weighted by its class

  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(arena + offset);
  }
};

using TrainingRun = std::function<Status(const TrainingContext& context, const TrainingStepMemory& memory)>;

struct TrainingStep {
  std::vector<LayerImplementation> implementations;
  size_t forward_scratch_bytes = 0;
  size_t backward_scratch_bytes = 0;
  TrainingRun forward;   // null where there is nothing to do
  TrainingRun backward;  // null where there is no gradient to compute
  // Runs once when parameters were written.
  std::function<Status(Stream stream)> prepare;
};

// Channels of an activation in memory; logits' are those of their gradient.
int64_t stored_channels(const TrainingNetwork& network, NodeId id, Precision precision);
// Whether the node's output is what the loss reads.
bool is_logits(const TrainingNetwork& network, NodeId id);
// A convolution that is not depthwise, as it runs in a direction.
ConvSpec training_spec(const TrainingNetwork& network, const TrainingNode& node, Precision precision,
                       ConvDirection direction);

struct TrainingCompiler {
  const TrainingNetwork& network;
  TrainingParameters& parameters;
  const LayerCompiler& layers;

  Precision precision() const { return layers.precision; }
  const Shape& input(const TrainingNode& node, size_t i = 0) const { return network.nodes[node.inputs[i]].output; }
  int64_t in_channels(const TrainingNode& node, size_t i = 0) const {
    return stored_channels(network, node.inputs[i], precision());
  }
};

inline int64_t eights_of(const Shape& shape) { return padded_channels(shape.c) / 8; }
inline int64_t pixels_of(const Shape& shape) { return shape.n * shape.h * shape.w; }
inline bool is_added(GradientUse use) { return use == GradientUse::kAdd; }
inline bool is_computed(GradientUse use) { return use == GradientUse::kWrite || use == GradientUse::kAdd; }

Result<TrainingStep> compile_training_convolution(const TrainingCompiler& compiler, const TrainingNode& node,
                                                  const Conv2d& op);
TrainingStep compile_training_depthwise(const TrainingCompiler& compiler, const TrainingNode& node, const Conv2d& op);
Result<TrainingStep> compile_batch_norm_unit(const TrainingCompiler& compiler, const TrainingNode& node,
                                             const BatchNormUnit& op);
Result<TrainingStep> compile_training_normalize(const TrainingCompiler& compiler, const Normalize& op);
TrainingStep compile_activate(const TrainingCompiler& compiler, const TrainingNode& node, const Activate& op);
TrainingStep compile_add(const TrainingCompiler& compiler, const TrainingNode& node, bool to_logits);
TrainingStep compile_training_max_pool(const TrainingCompiler& compiler, const TrainingNode& node, const MaxPool& op);
TrainingStep compile_training_average_pool(const TrainingCompiler& compiler, const TrainingNode& node,
                                           const AveragePool& op);
TrainingStep compile_training_average(const TrainingCompiler& compiler, const TrainingNode& node);
TrainingStep compile_training_concat(const TrainingCompiler& compiler, const TrainingNode& node);
TrainingStep compile_dropout(const TrainingCompiler& compiler, const TrainingNode& node, NodeId id, const Dropout& op);
Result<TrainingStep> compile_cross_entropy(const TrainingCompiler& compiler, const TrainingNode& node,
                                           const CrossEntropy& op);

}  // namespace deeplab::cuda

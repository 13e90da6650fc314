// One operation of a training step, ready to run forward and backward.
#pragma once

#include <cstddef>
#include <dnnl.hpp>
#include <functional>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/parameters.h"

namespace deeplab {

// What an operation finds when it runs. Activations and their gradients are NHWC; offsets into `arena` were planned.
struct TrainingContext {
  dnnl::stream& stream;
  std::byte* arena;
  const TrainingBatch& batch;
  double* loss;

  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(arena + offset);
  }
};

using TrainingRun = std::function<void(const TrainingContext& context, const TrainingStepMemory& memory)>;

struct TrainingStep {
  std::string implementation;
  size_t saved_bytes = 0;
  size_t forward_scratch_bytes = 0;
  size_t backward_scratch_bytes = 0;
  TrainingRun forward;
  TrainingRun backward;      // null: there is no gradient to compute
  size_t weights_bytes = 0;  // memory of its own, for kernels in the library's layout
};

// What operations are compiled with.
struct TrainingCompiler {
  const TrainingNetwork& network;
  Parameters& parameters;
  Precision precision;
  int threads;

  const Shape& input(const TrainingNode& node, size_t i) const { return network.nodes[node.inputs[i]].output; }
  bool bf16() const { return precision == Precision::kBF16; }
  size_t element_bytes() const { return bf16() ? sizeof(uint16_t) : sizeof(float); }
  size_t bytes(const Shape& shape) const { return shape.elements() * element_bytes(); }
};

// training_convolution.cc
Result<TrainingStep> compile_training_convolution(const TrainingCompiler& compiler, const TrainingNode& node,
                                                  const Conv2d& op);
// training_batch_norm.cc
TrainingStep compile_batch_norm_unit(const TrainingCompiler& compiler, const TrainingNode& node,
                                     const BatchNormUnit& op);
// training_layers.cc
TrainingStep compile_training_pooling(const TrainingCompiler& compiler, const TrainingNode& node,
                                      dnnl::algorithm algorithm, const Window& window);
TrainingStep compile_training_normalize(const TrainingCompiler& compiler, const Normalize& op);
TrainingStep compile_activate(const TrainingCompiler& compiler, const TrainingNode& node, const Activate& op);
TrainingStep compile_add(const TrainingCompiler& compiler, const TrainingNode& node);
TrainingStep compile_training_average(const TrainingCompiler& compiler, const TrainingNode& node);
TrainingStep compile_training_concat(const TrainingCompiler& compiler, const TrainingNode& node);
TrainingStep compile_dropout(const TrainingCompiler& compiler, const TrainingNode& node, NodeId id, const Dropout& op);
// cross_entropy.cc
TrainingStep compile_cross_entropy(const TrainingCompiler& compiler, const TrainingNode& node, const CrossEntropy& op);

}  // namespace deeplab

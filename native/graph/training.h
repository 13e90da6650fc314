// A training step of a network: its operations as they run forward and then, in the reverse order, backward; the
// parameters they have; and where activations, gradients and what is kept between the two lie in one block of memory.
// A backend only knows how to run an operation both ways (native/backend/backend.h).
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/tensor.h"
#include "graph/graph.h"
#include "graph/memory_plan.h"

namespace deeplab {

enum class BatchNormMode {
  kFrozen,   // by running statistics; nothing of it changes
  kTrained,  // by the batch's, which go into the running ones
};

// Where labels and logits meet.
enum class LossGrid {
  kLogits,  // labels of the cells' own pixels: what v2 does
  kImage,   // logits upsampled as the head upsamples them: what v3 argues for (arXiv 1706.05587, section 4.1)
};

struct TrainingOptions {
  BatchNormMode batch_norm = BatchNormMode::kFrozen;
  float batch_norm_momentum = 0.1f;  // the batch's share in the running statistics
  float dropout = 0;                 // probability that an element is dropped, where the papers have dropout
  LossGrid loss = LossGrid::kLogits;
  int ignore_label = 255;
  std::vector<float> class_weights;  // one per class
};

// ---- Operations that only training has. Comments give inputs -> output. ----

// x, or x and a residual -> activation(batch_norm(x) + residual): one pass over memory instead of three.
struct BatchNormUnit {
  BatchNorm norm;
  bool residual = false;
  Activation activation = Activation::kNone;
};

// x -> x / (1 - rate), or 0 with the probability `rate`: which, keeps_element() says.
struct Dropout {
  float rate = 0;
};

// logits -> their loss: the mean of -log softmax of the label over the pixels that count, each weighted by its class.
struct CrossEntropy {
  ModelConfig config;  // how logits are upsampled
};

// Of Conv2d, what has neither batch norm nor a residual.
using TrainingOp = std::variant<Normalize, Conv2d, BatchNormUnit, Activate, Add, MaxPool, AveragePool,
                                GlobalAveragePool, Concat, Dropout, CrossEntropy>;

// What an operation's backward pass does with the gradient of one of its inputs.
enum class GradientUse {
  kNone,    // nobody asks for it
  kWrite,   // it is the first to know of it
  kAdd,     // others, which ran before, wrote something there already
  kShared,  // it lies where the gradient of the output does and is what that has become: nothing is left to do
};

struct TrainingNode {
  std::string name;
  TrainingOp op;
  std::vector<NodeId> inputs;
  Shape output;
  std::vector<GradientUse> gradients;  // of the inputs
};

struct Parameter {
  enum class Kind { kKernel, kBias, kScale, kShift, kMean, kVariance };
  std::string name;
  Dims dims;
  Kind kind = Kind::kKernel;
  bool trained = true;

  int64_t elements() const {
    int64_t product = 1;
    for (const int64_t size : dims) product *= size;
    return product;
  }
};

struct TrainingNetwork {
  TrainingOptions options;
  Shape images;                     // uint8 [N,3,H,W]
  std::vector<TrainingNode> nodes;  // in topological order, Normalize first, CrossEntropy last
  std::vector<Parameter> parameters;

  int parameter(const std::string& name) const { return index.at(name); }

  std::map<std::string, int> index;
};

// The network of `config` for batches of `images`. ERR_UNSUPPORTED_MODEL for what cannot be trained: a network whose
// batch norm is folded, where it is to be trained.
Result<TrainingNetwork> build_training(const ModelConfig& config, const TrainingOptions& options, const Shape& images);

// ---- Memory ----

// Whether an operation's backward pass reads the activations that it read and wrote.
struct BackwardReads {
  bool inputs = false;
  bool output = false;
};
BackwardReads backward_reads(const TrainingOp& op, const TrainingOptions& options);

// Sizes on the device, per node. A gradient has the size of the activation that it is of.
struct TrainingBytes {
  std::vector<size_t> output;
  std::vector<size_t> saved;  // what forward leaves for backward besides activations
  std::vector<size_t> forward_scratch;
  std::vector<size_t> backward_scratch;
};

// Where the data of a node lie in the block. Only what GradientUse names is there of `input_gradients`.
struct TrainingStepMemory {
  std::vector<size_t> inputs;
  size_t output = 0;
  size_t saved = 0;
  size_t forward_scratch = 0;
  size_t backward_scratch = 0;
  size_t gradient = 0;  // of the output; operations may write over it
  std::vector<size_t> input_gradients;
};

struct TrainingMemory {
  std::vector<TrainingStepMemory> steps;  // per node
  size_t bytes = 0;                       // of the whole block
};

TrainingMemory plan_training_memory(const TrainingNetwork& network, const TrainingBytes& bytes);

// ---- Dropout ----

// A hash of which every bit depends on every bit of `value` (the finalizer of splitmix64).
constexpr uint64_t mix_bits(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// The key of a Dropout's elements in the step of `seed`.
constexpr uint64_t dropout_key(uint64_t seed, NodeId node) {
  return mix_bits(mix_bits(seed + 0x9e3779b97f4a7c15u) + static_cast<uint64_t>(node));
}

// Whether element `i`, counted in [N,H,W,C] order, stays.
constexpr bool keeps_element(uint64_t key, int64_t i, float rate) {
  constexpr float kPerStep = 1.0f / (1 << 24);
  return static_cast<float>(mix_bits(key + static_cast<uint64_t>(i)) >> 40) * kPerStep >= rate;
}

// ---- Loss ----

// The image's pixel, along one axis, whose label a cell of the logits' grid has.
int64_t cell_pixel(Upsample upsample, int64_t cell, int64_t grid, int64_t image);

}  // namespace deeplab

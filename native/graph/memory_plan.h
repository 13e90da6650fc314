// Where activations lie in one block of memory: two buffers share bytes when they are never needed at the same time.
#pragma once

#include <cstddef>
#include <vector>

#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

constexpr size_t kPlanAlignment = 256;  // a GPU's, and more than a CPU asks for

// A buffer that is in use from step `first` to step `last`, both included.
struct BufferRequest {
  size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // one per request, multiples of kPlanAlignment
  size_t bytes = 0;             // of the whole block
};

MemoryPlan plan_memory(const std::vector<BufferRequest>& requests);

// Where the data of a node's step lie in the block.
struct StepMemory {
  std::vector<size_t> inputs;
  size_t output = 0;
  size_t scratch = 0;
};

struct NetworkMemory {
  std::vector<StepMemory> steps;  // per node
  size_t bytes = 0;               // of the whole block
};

// Sizes on the device, per node; zero for what does not live in the block.
struct NodeBytes {
  std::vector<size_t> output;
  std::vector<size_t> scratch;
};

// Whether a convolution with a residual writes over it, or has memory of its own.
enum class ResidualMemory { kOverwritten, kKept };

NetworkMemory plan_network_memory(const Graph& graph, const NodeBytes& bytes, ResidualMemory residual);

}  // namespace deeplab

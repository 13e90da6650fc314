// Where activations lie in one block of memory: two buffers share bytes when they are never needed at the same time.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

// A buffer that is in use from step `first` to step `last`, both included.
struct BufferRequest {
  size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // one per request, multiples of a cache line
  size_t bytes = 0;             // of the whole block
};

MemoryPlan plan_memory(const std::vector<BufferRequest>& requests);

// The buffers of a graph's activations. A convolution with a residual writes over the residual, so several nodes may
// have the same buffer.
struct ActivationBuffers {
  std::vector<BufferRequest> requests;
  std::vector<int> buffer_of;  // per node: index into `requests`, or -1 where bytes_of is zero
};

// `bytes_of` gives the size of a node's output on the device; zero for what does not live in the block.
ActivationBuffers activation_buffers(const Graph& graph, const std::function<size_t(NodeId)>& bytes_of);

}  // namespace deeplab

// What running a graph costs, by layer: the table of `deeplab inspect`.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

struct LayerCost {
  std::string name;
  std::string op;
  Shape output;
  int64_t macs = 0;        // multiply-accumulates of the matrix products
  int64_t parameters = 0;  // as trained: kernels, biases, batch norm's scale and shift
};

struct GraphCost {
  std::vector<LayerCost> layers;
  int64_t macs = 0;
  int64_t parameters = 0;
  size_t activation_bytes = 0;                // of f32 activations, buffers reused
  size_t activation_bytes_without_reuse = 0;  // the sum over all layers
};

Result<GraphCost> graph_cost(const Graph& graph, const Shape& image);

}  // namespace deeplab

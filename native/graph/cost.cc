#include "graph/cost.h"

#include "graph/memory_plan.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

int64_t kernel_elements(const Conv2d& conv) {
  return static_cast<int64_t>(conv.depth()) * conv.out_channels * conv.window.kernel * conv.window.kernel;
}

int64_t parameters_of(const Conv2d& conv) {
  return kernel_elements(conv) + (conv.bias.empty() ? 0 : conv.out_channels) +
         (conv.batch_norm ? 2 * conv.out_channels : 0);
}

}  // namespace

Result<GraphCost> graph_cost(const Graph& graph, const Shape& image) {
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  GraphCost cost;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    const Shape& output = (*shapes)[id];
    const int64_t pixels = output.n * output.h * output.w;
    LayerCost layer{node.name, op_name(node.op), output, 0, 0};
    if (const auto* conv = std::get_if<Conv2d>(&node.op)) {
      layer.macs = pixels * kernel_elements(*conv);
      layer.parameters = parameters_of(*conv);
    } else if (const auto* taps = std::get_if<AtrousTaps>(&node.op)) {
      layer.macs = pixels * output.c * taps->in_channels;
      for (const Conv2d& branch : taps->branches) layer.parameters += parameters_of(branch);
    }
    cost.macs += layer.macs;
    cost.parameters += layer.parameters;
    cost.layers.push_back(std::move(layer));
  }

  NodeBytes bytes;
  bytes.scratch.resize(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const bool stored = makes_activation(graph.nodes[id].op);
    bytes.output.push_back(stored ? (*shapes)[id].elements() * sizeof(float) : 0);
    cost.activation_bytes_without_reuse += bytes.output.back();
  }
  cost.activation_bytes = plan_network_memory(graph, bytes, ResidualMemory::kOverwritten).bytes;
  return cost;
}

}  // namespace deeplab

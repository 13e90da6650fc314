#include "graph/passes.h"

#include <algorithm>

namespace deeplab {
namespace {

// Copies a graph node by node; a pass overrides what becomes of some nodes by mapping them itself.
class Rewriter {
 public:
  explicit Rewriter(const Graph& source) : source_(source), mapped_(source.nodes.size()), uses_(source.nodes.size()) {
    for (const Node& node : source.nodes) {
      for (const NodeId input : node.inputs) ++uses_[input];
    }
  }

  void copy(NodeId id) {
    const Node& node = source_.nodes[id];
    std::vector<NodeId> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(mapped_[input]);
    mapped_[id] = result.add(node.name, node.op, std::move(inputs));
  }

  // Readers of `id` in the source will read `target` in the result.
  void map(NodeId id, NodeId target) { mapped_[id] = target; }
  NodeId mapped(NodeId id) const { return mapped_[id]; }

  // The already copied convolution that produces source node `id`, if only one node reads it; else null.
  Conv2d* sole_conv(NodeId id) { return uses_[id] == 1 ? std::get_if<Conv2d>(&result.nodes[mapped_[id]].op) : nullptr; }

  Graph result;

 private:
  const Graph& source_;
  std::vector<NodeId> mapped_;
  std::vector<int> uses_;
};

bool is_dilated_to_few_classes(const Conv2d& conv) {
  constexpr int kFewClasses = 256;
  const Window& window = conv.window;
  return !conv.batch_norm && !conv.residual && !conv.depthwise && conv.activation == Activation::kNone &&
         conv.out_channels <= kFewClasses && window.stride == 1 && window.kernel % 2 == 1 &&
         2 * window.padding == window.extent() - 1;
}

AtrousTaps merge_taps(const std::vector<Conv2d>& branches) {
  AtrousTaps op{branches, {}, branches[0].in_channels, branches[0].out_channels};
  for (const Conv2d& branch : branches) {
    const int radius = branch.window.kernel / 2;
    for (int ky = -radius; ky <= radius; ++ky) {
      for (int kx = -radius; kx <= radius; ++kx) {
        const Tap tap{ky * branch.window.dilation, kx * branch.window.dilation};
        if (std::find(op.taps.begin(), op.taps.end(), tap) == op.taps.end()) op.taps.push_back(tap);
      }
    }
  }
  return op;
}

}  // namespace

Graph fold_batch_norm(const Graph& graph) {
  Rewriter rewriter(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    const Node& node = graph.nodes[id];
    if (const auto* norm = std::get_if<BatchNorm>(&node.op)) {
      Conv2d* conv = rewriter.sole_conv(node.inputs[0]);
      if (conv != nullptr && !conv->batch_norm) {
        conv->batch_norm = *norm;
        rewriter.map(id, rewriter.mapped(node.inputs[0]));
        continue;
      }
    }
    rewriter.copy(id);
  }
  return std::move(rewriter.result);
}

Graph fuse_residual(const Graph& graph) {
  const std::vector<NodeId> last_use = last_uses(graph);
  Rewriter rewriter(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    const Node& node = graph.nodes[id];
    if (std::holds_alternative<Add>(node.op) && node.inputs.size() == 2) {
      // The later of the two does the adding: the other one is then there already.
      const NodeId later = std::max(node.inputs[0], node.inputs[1]);
      const NodeId earlier = std::min(node.inputs[0], node.inputs[1]);
      Conv2d* conv = rewriter.sole_conv(later);
      // It writes over the other one, which must not be what it reads.
      const bool reads_it = !graph.nodes[later].inputs.empty() && graph.nodes[later].inputs[0] == earlier;
      const bool plain =
          conv != nullptr && !conv->residual && !conv->depthwise && conv->activation == Activation::kNone;
      if (plain && last_use[earlier] == id && !reads_it) {
        conv->residual = true;
        rewriter.result.nodes[rewriter.mapped(later)].inputs.push_back(rewriter.mapped(earlier));
        rewriter.map(id, rewriter.mapped(later));
        continue;
      }
    }
    rewriter.copy(id);
  }
  return std::move(rewriter.result);
}

Graph fuse_activation(const Graph& graph) {
  Rewriter rewriter(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    const Node& node = graph.nodes[id];
    if (const auto* op = std::get_if<Activate>(&node.op)) {
      Conv2d* conv = rewriter.sole_conv(node.inputs[0]);
      if (conv != nullptr && conv->activation == Activation::kNone) {
        conv->activation = op->activation;
        rewriter.map(id, rewriter.mapped(node.inputs[0]));
        continue;
      }
    }
    rewriter.copy(id);
  }
  return std::move(rewriter.result);
}

Graph aspp_as_gemm(const Graph& graph) {
  // First find the sums, so that their branches, which come before them, can be left out.
  std::vector<std::vector<Conv2d>> sums(graph.nodes.size());
  std::vector<bool> replaced(graph.nodes.size(), false);
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    if (!std::holds_alternative<Add>(node.op)) continue;
    std::vector<Conv2d> branches;
    const NodeId input = graph.nodes[node.inputs[0]].inputs.empty() ? -1 : graph.nodes[node.inputs[0]].inputs[0];
    for (const NodeId branch : node.inputs) {
      const auto* conv = std::get_if<Conv2d>(&graph.nodes[branch].op);
      if (conv == nullptr || !is_dilated_to_few_classes(*conv) || graph.nodes[branch].inputs[0] != input) break;
      branches.push_back(*conv);
    }
    if (branches.size() != node.inputs.size()) continue;
    for (const NodeId branch : node.inputs) replaced[branch] = true;
    sums[id] = std::move(branches);
  }

  Rewriter rewriter(graph);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    if (replaced[id]) continue;
    if (sums[id].empty()) {
      rewriter.copy(id);
      continue;
    }
    const Node& node = graph.nodes[id];
    const NodeId input = rewriter.mapped(graph.nodes[node.inputs[0]].inputs[0]);
    const AtrousTaps taps = merge_taps(sums[id]);
    const NodeId products = rewriter.result.add(node.name + ".taps", taps, {input});
    rewriter.map(id, rewriter.result.add(node.name, ShiftedAdd{taps.taps, taps.classes}, {products}));
  }
  return std::move(rewriter.result);
}

// The ASPP comes before the residuals: a sum of two branches looks like one.
Graph optimize(const Graph& graph) { return fuse_activation(fuse_residual(aspp_as_gemm(fold_batch_norm(graph)))); }

}  // namespace deeplab

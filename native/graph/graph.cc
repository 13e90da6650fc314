#include "graph/graph.h"

namespace deeplab {
namespace {

struct OpName {
  const char* operator()(const Image&) const { return "image"; }
  const char* operator()(const Normalize&) const { return "normalize"; }
  const char* operator()(const Conv2d& conv) const {
    static constexpr const char* kNames[2][3] = {{"conv", "conv+relu", "conv+relu6"},
                                                 {"conv+add", "conv+add+relu", "conv+add+relu6"}};
    static constexpr const char* kDepthwise[] = {"depthwise_conv", "depthwise_conv+relu", "depthwise_conv+relu6"};
    const auto activation = static_cast<int>(conv.activation);
    return conv.depthwise ? kDepthwise[activation] : kNames[conv.residual][activation];
  }
  const char* operator()(const BatchNorm&) const { return "batch_norm"; }
  const char* operator()(const Activate& op) const { return op.activation == Activation::kRelu6 ? "relu6" : "relu"; }
  const char* operator()(const Add&) const { return "add"; }
  const char* operator()(const MaxPool&) const { return "max_pool"; }
  const char* operator()(const AveragePool&) const { return "average_pool"; }
  const char* operator()(const GlobalAveragePool&) const { return "global_average_pool"; }
  const char* operator()(const Concat&) const { return "concat"; }
  const char* operator()(const AtrousTaps&) const { return "atrous_taps"; }
  const char* operator()(const ShiftedAdd&) const { return "shifted_add"; }
  const char* operator()(const Resize&) const { return "resize"; }
  const char* operator()(const FuseLogits&) const { return "fuse_logits"; }
  const char* operator()(const GivenLogits&) const { return "given_logits"; }
  const char* operator()(const SegmentationHead&) const { return "segmentation_head"; }
};

}  // namespace

const char* op_name(const Op& op) { return std::visit(OpName(), op); }

bool makes_activation(const Op& op) {
  return !std::holds_alternative<Image>(op) && !std::holds_alternative<SegmentationHead>(op);
}

NodeId logits_of(const Graph& graph) { return graph.nodes.back().inputs[0]; }

std::vector<NodeId> last_uses(const Graph& graph) {
  std::vector<NodeId> last(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    last[id] = static_cast<NodeId>(id);
    for (const NodeId input : graph.nodes[id].inputs) last[input] = static_cast<NodeId>(id);
  }
  return last;
}

}  // namespace deeplab

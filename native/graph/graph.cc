#include "graph/graph.h"

namespace deeplab {
namespace {

struct OpName {
  const char* operator()(const Image&) const { return "image"; }
  const char* operator()(const Normalize&) const { return "normalize"; }
  const char* operator()(const Conv2d& conv) const {
    if (conv.residual) return conv.relu ? "conv+add+relu" : "conv+add";
    return conv.relu ? "conv+relu" : "conv";
  }
  const char* operator()(const BatchNorm&) const { return "batch_norm"; }
  const char* operator()(const Relu&) const { return "relu"; }
  const char* operator()(const Add&) const { return "add"; }
  const char* operator()(const MaxPool&) const { return "max_pool"; }
  const char* operator()(const AtrousTaps&) const { return "atrous_taps"; }
  const char* operator()(const ShiftedAdd&) const { return "shifted_add"; }
  const char* operator()(const Resize&) const { return "resize"; }
  const char* operator()(const FuseScales&) const { return "fuse_scales"; }
  const char* operator()(const SegmentationHead&) const { return "segmentation_head"; }
};

}  // namespace

const char* op_name(const Op& op) { return std::visit(OpName(), op); }

bool makes_activation(const Op& op) {
  return !std::holds_alternative<Image>(op) && !std::holds_alternative<SegmentationHead>(op);
}

std::vector<NodeId> last_uses(const Graph& graph) {
  std::vector<NodeId> last(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    last[id] = static_cast<NodeId>(id);
    for (const NodeId input : graph.nodes[id].inputs) last[input] = static_cast<NodeId>(id);
  }
  return last;
}

}  // namespace deeplab

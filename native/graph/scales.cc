#include "graph/scales.h"

#include <algorithm>
#include <sstream>

namespace deeplab {
namespace {

// "@0.5", "@1 mirrored": what is appended to the names of layers.
std::string suffix(double scale, bool mirror) {
  std::ostringstream text;
  text << '@' << scale << (mirror ? " mirrored" : "");
  return text.str();
}

NodeId normalized_image(const Graph& graph) {
  NodeId id = 0;
  while (!std::holds_alternative<Normalize>(graph.nodes[id].op)) ++id;
  return id;
}

// Appends to `result` the layers of `graph` from its normalized image to its logits, on `resize` of that image; gives
// the logits.
NodeId append_branch(const Graph& graph, NodeId normalized, NodeId logits, const Resize& resize, Graph* result) {
  const std::string name = suffix(resize.scale, resize.mirror);
  std::vector<NodeId> mapped(graph.nodes.size());
  mapped[normalized] = result->add("input" + name, resize, {normalized});
  for (NodeId id = normalized + 1; id <= logits; ++id) {
    std::vector<NodeId> inputs;
    for (const NodeId input : graph.nodes[id].inputs) inputs.push_back(mapped[input]);
    mapped[id] = result->add(graph.nodes[id].name + name, graph.nodes[id].op, std::move(inputs));
  }
  return mapped[logits];
}

void set_input(const InputRule& rule, ModelConfig* config) {
  config->resize = rule.resize;
  config->longest = rule.longest;
}

// Of the two operations that know the image's size.
void set_input(const InputRule& rule, Graph* graph) {
  for (Node& node : graph->nodes) {
    if (auto* normalize = std::get_if<Normalize>(&node.op)) set_input(rule, &normalize->config);
    if (auto* head = std::get_if<SegmentationHead>(&node.op)) set_input(rule, &head->config);
  }
}

}  // namespace

Status check_mode(const InferenceMode& mode) {
  const std::vector<double>& scales = mode.scales;
  bool good = !scales.empty() && scales.size() <= kMaxScales && std::count(scales.begin(), scales.end(), 1.0) == 1;
  for (const double scale : scales) {
    good = good && scale >= kLeastScale && scale <= kMostScale && std::count(scales.begin(), scales.end(), scale) == 1;
  }
  if (good) return Status();
  return error(Code::kInvalidArgument, "Expected 1 to ", kMaxScales, " different numbers from ", kLeastScale, " to ",
               kMostScale, " for scales, 1 among them");
}

Graph in_mode(const Graph& given, const InferenceMode& mode) {
  Graph graph = given;
  if (mode.input.has_value()) set_input(*mode.input, &graph);
  if (mode.scales.size() == 1 && !mode.flip) return graph;
  const Node& head = graph.nodes.back();
  const NodeId logits = logits_of(graph), normalized = normalized_image(graph);
  Graph result = graph;
  result.nodes.pop_back();
  std::vector<NodeId> fused = {logits};
  FuseLogits fuse{mode.fuse, {false}};
  for (const double scale : mode.scales) {
    for (const bool mirror : {false, true}) {
      if ((mirror && !mode.flip) || (scale == 1 && !mirror)) continue;
      fused.push_back(append_branch(graph, normalized, logits, {scale, mirror}, &result));
      fuse.mirrored.push_back(mirror);
    }
  }
  const NodeId all = result.add("scales", fuse, fused);
  result.add(head.name, head.op, {all, head.inputs[1]});
  return result;
}

Graph head_only(const Graph& graph, int classes, int height, int width) {
  Graph result;
  const NodeId image = result.add("image", Image{}, {});
  const NodeId logits = result.add("logits", GivenLogits{classes, height, width}, {});
  const Node& head = graph.nodes.back();
  result.add(head.name, head.op, {logits, image});
  return result;
}

}  // namespace deeplab

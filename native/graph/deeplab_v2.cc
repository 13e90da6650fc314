#include "graph/deeplab_v2.h"

#include "graph/resnet.h"

namespace deeplab {

Graph build_deeplab_v2(const ModelConfig& config) {
  Graph graph;
  const NodeId image = graph.add("image", Image{}, {});
  const NodeId input = graph.add("normalize", Normalize{config}, {image});
  const NodeId features = add_resnet(graph, config, input);

  const int classes = static_cast<int>(config.classes.size());
  std::vector<NodeId> branches;
  for (size_t i = 0; i < config.aspp_rates.size(); ++i) {
    const int rate = config.aspp_rates[i];
    const std::string name = "aspp.branches." + std::to_string(i);
    Conv2d conv{name + ".weight", kResnetFeatureChannels, classes, {3, 1, rate, rate},
                name + ".bias",   std::nullopt,           false,   false};
    branches.push_back(graph.add(name, std::move(conv), {features}));
  }
  const NodeId logits = graph.add("aspp", Add{}, branches);
  graph.add("head", SegmentationHead{}, {logits, input, image});
  return graph;
}

}  // namespace deeplab

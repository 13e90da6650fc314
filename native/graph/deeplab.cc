#include "graph/deeplab.h"

#include "graph/aspp.h"
#include "graph/mobilenet_v2.h"
#include "graph/resnet.h"
#include "graph/vgg16.h"

namespace deeplab {
namespace {

NodeId add_network(Graph& graph, const ModelConfig& config, NodeId input) {
  if (config.backbone == "vgg16") {
    return add_vgg_branches(graph, config, add_vgg16(graph, config, input), kVggFeatureChannels);
  }
  const bool mobilenet = config.backbone == "mobilenet_v2";
  const NodeId features = mobilenet ? add_mobilenet_v2(graph, config, input) : add_resnet(graph, config, input);
  const int channels = mobilenet ? mobilenet_v2_feature_channels(config) : kResnetFeatureChannels;
  return config.aspp_fusion == AsppFusion::kSum ? add_aspp_sum(graph, config, features, channels)
                                                : add_v3_head(graph, config, features, channels);
}

}  // namespace

Graph build_deeplab(const ModelConfig& config) {
  Graph graph;
  const NodeId image = graph.add("image", Image{}, {});
  const NodeId input = graph.add("normalize", Normalize{config}, {image});
  const NodeId logits = add_network(graph, config, input);
  graph.add("head", SegmentationHead{config}, {logits, image});
  return graph;
}

}  // namespace deeplab

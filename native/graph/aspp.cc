#include "graph/aspp.h"

#include "graph/layer_builder.h"

namespace deeplab {
namespace {

// Logits are sums of convolutions to the classes, if only of one: so the passes find them.
NodeId add_logits(Graph& graph, const std::string& name, std::vector<NodeId> convolutions) {
  return graph.add(name, Add{}, std::move(convolutions));
}

int class_count(const ModelConfig& config) { return static_cast<int>(config.classes.size()); }

std::string branch_name(size_t i) { return "aspp.branches." + std::to_string(i); }

NodeId add_pyramid(LayerBuilder& layers, const ModelConfig& config, NodeId features, int channels) {
  Graph& graph = layers.graph();
  const int width = config.head_channels;
  std::vector<NodeId> branches = {layers.unit(branch_name(0), features, channels, width, {1}, Activation::kRelu)};
  for (const int rate : config.aspp_rates) {
    branches.push_back(
        layers.unit(branch_name(branches.size()), features, channels, width, same_size(3, rate), Activation::kRelu));
  }
  if (config.image_pooling) {
    const NodeId mean = graph.add("aspp.pooling", GlobalAveragePool{}, {features});
    branches.push_back(layers.unit("aspp.pooling", mean, channels, width, {1}, Activation::kRelu));
  }
  const int concatenated = width * static_cast<int>(branches.size());
  const NodeId all = graph.add("aspp", Concat{}, std::move(branches));
  return layers.unit("aspp.project", all, concatenated, width, {1}, Activation::kRelu);
}

}  // namespace

NodeId add_aspp_sum(Graph& graph, const ModelConfig& config, NodeId features, int channels) {
  LayerBuilder layers(graph, false, 0);
  std::vector<NodeId> branches;
  for (const int rate : config.aspp_rates) {
    branches.push_back(
        layers.conv(branch_name(branches.size()), features, channels, class_count(config), same_size(3, rate)));
  }
  return add_logits(graph, "aspp", std::move(branches));
}

NodeId add_vgg_branches(Graph& graph, const ModelConfig& config, NodeId features, int channels) {
  LayerBuilder layers(graph, false, 0);
  const int width = config.head_channels;
  std::vector<NodeId> branches;
  for (const int rate : config.aspp_rates) {
    const std::string name = branch_name(branches.size());
    NodeId x = layers.conv(name + ".fc6", features, channels, width, same_size(config.fc6_kernel, rate));
    x = layers.relu(name + ".relu6", x);
    x = layers.conv(name + ".fc7", x, width, width, {1});
    x = layers.relu(name + ".relu7", x);
    x = layers.conv(name + ".fc8", x, width, class_count(config), {1});
    branches.push_back(add_logits(graph, name, {x}));
  }
  if (branches.size() == 1) return branches[0];
  return graph.add("aspp", FuseLogits{FuseRule::kSum, std::vector<bool>(branches.size(), false)}, branches);
}

NodeId add_v3_head(Graph& graph, const ModelConfig& config, NodeId features, int channels) {
  LayerBuilder layers(graph, config.batch_norm, config.head_bn_eps);
  const int width = config.head_channels;
  NodeId x = features;
  if (config.aspp_fusion == AsppFusion::kConcat) {
    x = add_pyramid(layers, config, x, channels);
    channels = width;
  }
  if (config.head_conv) {
    x = layers.unit("head", x, channels, width, same_size(3), Activation::kRelu);
    channels = width;
  }
  return add_logits(graph, "logits", {layers.conv("classifier", x, channels, class_count(config), {1})});
}

bool has_dropout(const std::string& node) {
  const auto ends_with = [&](const std::string& end) {
    return node.size() >= end.size() && node.compare(node.size() - end.size(), end.size(), end) == 0;
  };
  return ends_with(".relu6") || ends_with(".relu7") || node == "aspp.project.activation";
}

}  // namespace deeplab

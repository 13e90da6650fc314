#include "graph/resnet.h"

namespace deeplab {
namespace {

constexpr int kLayers = 4;
constexpr int kExpansion = 4;  // a bottleneck's output channels per channel inside

const int* block_counts(const std::string& backbone) {
  static constexpr int kResnet50[kLayers] = {3, 4, 6, 3};
  static constexpr int kResnet101[kLayers] = {3, 4, 23, 3};
  return backbone == "resnet101" ? kResnet101 : kResnet50;
}

class ResnetBuilder {
 public:
  ResnetBuilder(Graph& graph, const ModelConfig& config) : graph_(graph), config_(config) {}

  NodeId build(NodeId input) {
    NodeId x = conv_bn("conv1", "bn1", input, 3, 64, {7, 2, 1, 3, config_.stem_padding});
    x = graph_.add("relu", Relu{}, {x});
    x = graph_.add("maxpool", MaxPool{{3, 2, 1, 1, config_.pool_padding}}, {x});

    int channels = 64;
    int output_stride = 4;
    int dilation = 1;
    for (int layer = 0; layer < kLayers; ++layer) {
      int stride = layer == 0 ? 1 : 2;
      if (output_stride * stride > config_.output_stride) {  // keep the resolution, dilate instead (section 3.1)
        dilation *= stride;
        stride = 1;
      }
      output_stride *= stride;
      const int width = 64 << layer;
      for (int block = 0; block < block_counts(config_.backbone)[layer]; ++block) {
        const std::string name = "layer" + std::to_string(layer + 1) + "." + std::to_string(block);
        x = bottleneck(name, x, channels, width, block == 0 ? stride : 1, dilation);
        channels = kExpansion * width;
      }
    }
    return x;
  }

 private:
  NodeId conv_bn(const std::string& conv, const std::string& bn, NodeId input, int in, int out, const Window& window) {
    const NodeId x =
        graph_.add(conv, Conv2d{conv + ".weight", in, out, window, "", std::nullopt, false, false}, {input});
    return graph_.add(bn, BatchNorm{bn, config_.bn_eps, out}, {x});
  }

  NodeId bottleneck(const std::string& name, NodeId input, int in, int width, int stride, int dilation) {
    const bool first = config_.stride_placement == StridePlacement::k1x1;
    const PaddingRule rule = stride > 1 ? config_.stem_padding : PaddingRule::kFloor;
    const int out = kExpansion * width;
    NodeId shortcut = input;
    if (stride != 1 || in != out) {
      shortcut = conv_bn(name + ".downsample.0", name + ".downsample.1", input, in, out, {1, stride});
    }
    NodeId x = conv_bn(name + ".conv1", name + ".bn1", input, in, width, {1, first ? stride : 1});
    x = graph_.add(name + ".relu1", Relu{}, {x});
    x = conv_bn(name + ".conv2", name + ".bn2", x, width, width, {3, first ? 1 : stride, dilation, dilation, rule});
    x = graph_.add(name + ".relu2", Relu{}, {x});
    x = conv_bn(name + ".conv3", name + ".bn3", x, width, out, {1});
    x = graph_.add(name + ".add", Add{}, {x, shortcut});
    return graph_.add(name + ".relu3", Relu{}, {x});
  }

  Graph& graph_;
  const ModelConfig& config_;
};

}  // namespace

NodeId add_resnet(Graph& graph, const ModelConfig& config, NodeId input) {
  return ResnetBuilder(graph, config).build(input);
}

}  // namespace deeplab

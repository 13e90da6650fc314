#include "graph/resnet.h"

#include <algorithm>

#include "graph/layer_builder.h"

namespace deeplab {
namespace {

constexpr int kLayers = 4;
constexpr int kExpansion = 4;  // a bottleneck's output channels per channel inside

// Bottlenecks of layers 1 to 4; each layer of the cascade has as many as layer 4.
int block_count(const ModelConfig& config, int layer) {
  static constexpr int kResnet50[kLayers] = {3, 4, 6, 3};
  static constexpr int kResnet101[kLayers] = {3, 4, 23, 3};
  const int* counts = config.backbone == "resnet101" ? kResnet101 : kResnet50;
  return counts[layer < kLayers ? layer : kLayers - 1];
}

class ResnetBuilder {
 public:
  ResnetBuilder(Graph& graph, const ModelConfig& config)
      : config_(config), layers_(graph, config.batch_norm, config.bn_eps) {}

  NodeId build(NodeId input) {
    NodeId x = layers_.conv_bn("conv1", "bn1", input, 3, 64, {7, 2, 1, 3, config_.stem_padding});
    x = layers_.relu("relu", x);
    x = layers_.graph().add("maxpool", MaxPool{{3, 2, 1, 1, config_.pool_padding}}, {x});
    for (int layer = 0; layer < kLayers + config_.cascade_blocks; ++layer) {
      const int width = 64 << std::min(layer, kLayers - 1);
      const int blocks = block_count(config_, layer);
      for (int block = 0; block < blocks; ++block) {
        const std::string name = "layer" + std::to_string(layer + 1) + "." + std::to_string(block);
        const int stride = stride_of(layer, block, blocks);  // and then the rate
        x = bottleneck(name, x, width, stride, unit_rate(layer, block));
      }
    }
    return x;
  }

 private:
  // The stride of a bottleneck as ImageNet's ResNet would have it, going on in the cascade.
  int nominal_stride(int layer, int block, int blocks) const {
    const bool last_layer = layer == kLayers + config_.cascade_blocks - 1;
    if (config_.stride_unit == StrideUnit::kLast) return block == blocks - 1 && !last_layer ? 2 : 1;
    return block == 0 && layer > 0 ? 2 : 1;
  }

  // Its stride here. Where that would make the features too small, the resolution is kept and what follows dilated
  // instead (arXiv 1606.00915, section 3.1).
  int stride_of(int layer, int block, int blocks) {
    const int stride = nominal_stride(layer, block, blocks);
    dilation_ = next_dilation_;
    if (output_stride_ * stride <= config_.output_stride) {
      output_stride_ *= stride;
      return stride;
    }
    next_dilation_ *= stride;
    if (config_.stride_unit == StrideUnit::kFirst && config_.dilate_first_unit) dilation_ = next_dilation_;
    return 1;
  }

  // Multi-grid: factors of the rates of layer 4 and the cascade (arXiv 1706.05587, section 3.2).
  int unit_rate(int layer, int block) const {
    return layer < kLayers - 1 ? dilation_ : dilation_ * config_.multi_grid[block];
  }

  NodeId bottleneck(const std::string& name, NodeId input, int width, int stride, int dilation) {
    Graph& graph = layers_.graph();
    const int in = channels_, out = kExpansion * width;
    const bool on_first = config_.stride_placement == StridePlacement::k1x1;
    const PaddingRule rule = stride > 1 ? config_.stem_padding : PaddingRule::kFloor;
    NodeId shortcut = input;
    if (in != out || (stride != 1 && config_.stride_unit == StrideUnit::kFirst)) {
      shortcut = layers_.conv_bn(name + ".downsample.0", name + ".downsample.1", input, in, out, {1, stride});
    } else if (stride != 1) {
      shortcut = graph.add(name + ".subsample", MaxPool{{1, stride}}, {input});  // every other pixel
    }
    NodeId x = layers_.conv_bn(name + ".conv1", name + ".bn1", input, in, width, {1, on_first ? stride : 1});
    x = layers_.relu(name + ".relu1", x);
    const Window window{3, on_first ? 1 : stride, dilation, dilation, rule};
    x = layers_.conv_bn(name + ".conv2", name + ".bn2", x, width, width, window);
    x = layers_.relu(name + ".relu2", x);
    x = layers_.conv_bn(name + ".conv3", name + ".bn3", x, width, out, {1});
    x = graph.add(name + ".add", Add{}, {x, shortcut});
    channels_ = out;
    return layers_.relu(name + ".relu3", x);
  }

  const ModelConfig& config_;
  LayerBuilder layers_;
  int channels_ = 64;      // of the features so far
  int output_stride_ = 4;  // and theirs
  int dilation_ = 1;       // of this bottleneck
  int next_dilation_ = 1;  // of the next
};

}  // namespace

NodeId add_resnet(Graph& graph, const ModelConfig& config, NodeId input) {
  return ResnetBuilder(graph, config).build(input);
}

}  // namespace deeplab

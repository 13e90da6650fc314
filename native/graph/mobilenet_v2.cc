#include "graph/mobilenet_v2.h"

#include <algorithm>

#include "graph/layer_builder.h"

namespace deeplab {
namespace {

// Table 2 of the paper.
struct Stage {
  int expansion;
  int channels;
  int blocks;
  int stride;
};
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
constexpr int kStemChannels = 32;

// To the nearest multiple of the divisor, but never down by more than a tenth.
int scaled_channels(const ModelConfig& config, int channels) {
  const float wanted = static_cast<float>(channels) * config.width_multiplier;
  const int divisor = config.channel_divisor;
  const int rounded = std::max(static_cast<int>(wanted + static_cast<float>(divisor) / 2) / divisor * divisor, divisor);
  return static_cast<float>(rounded) < 0.9f * wanted ? rounded + divisor : rounded;
}

class MobilenetBuilder {
 public:
  MobilenetBuilder(Graph& graph, const ModelConfig& config)
      : config_(config), layers_(graph, config.batch_norm, config.bn_eps) {}

  NodeId build(NodeId input) {
    channels_ = scaled_channels(config_, kStemChannels);
    NodeId x = layers_.unit("stem", input, 3, channels_, {3, 2, 1, 1, config_.stem_padding}, Activation::kRelu6);
    int index = 0;
    for (const Stage& stage : kStages) {
      const int out = scaled_channels(config_, stage.channels);
      for (int block = 0; block < stage.blocks; ++block) {
        x = inverted_residual("blocks." + std::to_string(index++), x, stage.expansion, out,
                              block == 0 ? stage.stride : 1);
      }
    }
    return x;
  }

 private:
  NodeId inverted_residual(const std::string& name, NodeId input, int expansion, int out, int stride) {
    // A stride that would make the features too small becomes a rate of what follows.
    const int dilation = dilation_;
    if (output_stride_ * stride > config_.output_stride) {
      dilation_ *= stride;
      stride = 1;
    }
    output_stride_ *= stride;
    const int in = channels_, width = in * expansion;
    const PaddingRule rule = stride > 1 ? config_.stem_padding : PaddingRule::kFloor;
    NodeId x = input;
    if (expansion != 1) x = layers_.unit(name + ".expand", x, in, width, {1}, Activation::kRelu6);
    x = layers_.unit(name + ".depthwise", x, width, width, {3, stride, dilation, dilation, rule}, Activation::kRelu6,
                     true);
    x = layers_.unit(name + ".project", x, width, out, {1}, Activation::kNone);
    channels_ = out;
    return stride == 1 && in == out ? layers_.graph().add(name + ".add", Add{}, {x, input}) : x;
  }

  const ModelConfig& config_;
  LayerBuilder layers_;
  int channels_ = 0;
  int output_stride_ = 2;
  int dilation_ = 1;
};

}  // namespace

int mobilenet_v2_feature_channels(const ModelConfig& config) {
  return scaled_channels(config, std::end(kStages)[-1].channels);
}

NodeId add_mobilenet_v2(Graph& graph, const ModelConfig& config, NodeId input) {
  return MobilenetBuilder(graph, config).build(input);
}

}  // namespace deeplab

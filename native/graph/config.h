// What a weights file says of its network: the `__metadata__` of a safetensors file, parsed and checked.
// docs/weights.md lists every key.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/status.h"
#include "crf/parameters.h"

namespace deeplab {

constexpr int kMaxClasses = 256;  // labels are uint8

enum class StridePlacement {
  k1x1,  // on the bottleneck's first convolution: Caffe, MSRA
  k3x3,  // on the middle one: torchvision
};

// Which bottleneck of a layer has the layer's stride.
enum class StrideUnit {
  kFirst,
  kLast,  // of the layer before: TensorFlow slim
};

// What becomes of the branches of an ASPP.
enum class AsppFusion {
  kSum,     // each ends in the classes: v1, v2
  kConcat,  // they are concatenated and projected: v3
  kNone,    // there is no ASPP: v3's cascade
};

// Where a cell of the logits' grid lies under the network's input.
enum class Upsample {
  kHalfPixel,     // cells are areas: PyTorch
  kAlignCorners,  // the outermost cells are the outermost pixels: Caffe's Interp
  kAsymmetric,    // cell i is pixel i * stride: TensorFlow 1's default
};

// How many pixels a window reads beyond the border, and what becomes of an incomplete last window.
enum class PaddingRule {
  kFloor,  // symmetric; an incomplete window is dropped (PyTorch)
  kCeil,   // symmetric; an incomplete window counts (Caffe's pooling)
  kSame,   // ceil(size / stride) outputs, the odd pixel of padding at the end (TensorFlow)
};

// From the image's size to the network's input size.
enum class ResizeRule {
  kNone,     // as it is
  kFixed,    // exactly width x height
  kLongest,  // the longer side becomes `longest`, the aspect is kept
};

struct ModelConfig {
  std::string architecture;  // "deeplab_v1", "deeplab_v2", "deeplab_v3"
  std::string backbone;      // "vgg16", "resnet50", "resnet101", "mobilenet_v2"
  int output_stride = 8;
  PaddingRule stem_padding = PaddingRule::kFloor;  // of the strided convolutions: kFloor or kSame
  PaddingRule pool_padding = PaddingRule::kFloor;
  bool batch_norm = true;  // false: folded into the convolutions, which have biases
  float bn_eps = 1e-5f;
  float head_bn_eps = 1e-5f;

  // ResNet.
  StridePlacement stride_placement = StridePlacement::k3x3;
  StrideUnit stride_unit = StrideUnit::kFirst;
  bool dilate_first_unit = true;  // false: a layer whose stride became a rate uses it from its second bottleneck on
  std::array<int, 3> multi_grid = {1, 1, 1};
  int cascade_blocks = 0;  // copies of layer 4 behind it

  // MobileNetV2.
  float width_multiplier = 1;
  int channel_divisor = 8;

  // The head. Rates are those at `output_stride`.
  AsppFusion aspp_fusion = AsppFusion::kSum;
  std::vector<int> aspp_rates;
  int head_channels = 256;
  bool image_pooling = true;  // v3
  bool head_conv = false;     // v3: a 3x3 convolution before the classifier
  int fc6_kernel = 3;         // VGG-16
  bool pool5a = false;        // VGG-16: average pooling after pool5
  Upsample upsample = Upsample::kHalfPixel;

  std::vector<std::string> classes;
  std::vector<std::array<uint8_t, 3>> palette;  // one RGB per class, or empty

  bool bgr = false;          // channel order of the network's input
  float value_scale = 1.0f;  // pixels are multiplied by this before mean and standard deviation
  std::array<float, 3> mean{};
  std::array<float, 3> std{};
  ResizeRule resize = ResizeRule::kNone;
  int input_width = 0;   // kFixed
  int input_height = 0;  // kFixed
  int longest = 0;       // kLongest
  int pad_to_multiple = 1;

  CrfParameters crf;  // the model's own, or the published one of its backbone

  std::map<std::string, std::string> metadata;
};

Result<ModelConfig> parse_config(const std::map<std::string, std::string>& metadata);

// Makes the same weights compute at another output stride: the rates of the ASPP grow as it shrinks.
Status set_output_stride(ModelConfig& config, int output_stride);

}  // namespace deeplab

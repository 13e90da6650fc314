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
  std::string architecture;
  std::string backbone;
  int output_stride = 8;
  std::vector<int> aspp_rates;
  StridePlacement stride_placement = StridePlacement::k3x3;
  PaddingRule stem_padding = PaddingRule::kFloor;  // of the strided convolutions: kFloor or kSame
  PaddingRule pool_padding = PaddingRule::kFloor;
  float bn_eps = 1e-5f;

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

}  // namespace deeplab

// Ways to run a network, as graphs of the same weights: how the image meets it, and inference at several scales, and
// mirrored. Chen et al., "DeepLab", 2017, section 4.1: the network runs on the image at each scale; logits are brought
// to one grid and fused element by element.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace deeplab {

constexpr size_t kMaxScales = 8;
constexpr double kLeastScale = 0.25, kMostScale = 4;

// From the image's size to the network's input size, in place of the config's.
struct InputRule {
  ResizeRule resize = ResizeRule::kNone;
  int longest = 0;  // kLongest

  bool operator==(const InputRule& other) const { return resize == other.resize && longest == other.longest; }
};

struct InferenceMode {
  std::vector<double> scales = {1};  // 1 is among them
  FuseRule fuse = FuseRule::kMax;
  bool flip = false;                 // each scale mirrored as well
  std::optional<InputRule> input{};  // none: the config's own

  bool operator==(const InferenceMode& other) const {
    return scales == other.scales && fuse == other.fuse && flip == other.flip && input == other.input;
  }
};

// ERR_INVALID_ARGUMENT unless there are 1 to kMaxScales different scales in range, 1 among them.
Status check_mode(const InferenceMode& mode);

// `graph`, optimized or not, in that mode; itself, if that is the usual one. Its logits have the shape that they have
// at scale 1.
Graph in_mode(const Graph& graph, const InferenceMode& mode);

// The head of `graph` alone, for logits [N,classes,height,width] that the caller gives, under the same input rule.
Graph head_only(const Graph& graph, int classes, int height, int width);

}  // namespace deeplab

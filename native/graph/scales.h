// Inference at several scales, and mirrored, as one graph. Chen et al., "DeepLab", 2017, section 4.1: the network runs
// on the image at each scale, with the same weights; logits are brought to one grid and fused element by element.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace deeplab {

constexpr size_t kMaxScales = 8;
constexpr double kLeastScale = 0.25, kMostScale = 4;

struct InferenceMode {
  std::vector<double> scales = {1};  // 1 is among them
  FuseRule fuse = FuseRule::kMax;
  bool flip = false;  // each scale mirrored as well

  bool operator==(const InferenceMode& other) const {
    return scales == other.scales && fuse == other.fuse && flip == other.flip;
  }
};

// ERR_INVALID_ARGUMENT unless there are 1 to kMaxScales different scales in range, 1 among them.
Status check_mode(const InferenceMode& mode);

// `graph`, optimized or not, in that mode; itself, if that is the usual one. Its logits have the shape that they have
// at scale 1.
Graph in_mode(const Graph& graph, const InferenceMode& mode);

}  // namespace deeplab

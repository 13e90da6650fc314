// Inference at several scales, and mirrored, as one graph.
#pragma once
#include <vector>
#include "graph/graph.h"
namespace deeplab {
struct InferenceMode {
  std::vector<double> scales = {1};  // 1 is among them
  FuseRule fuse = FuseRule::kMax;
  bool flip = false;  // each scale mirrored as well
};
}

// What CpuNetwork makes of a graph and an image size.
#pragma once

#include <vector>

#include "backend/cpu/step.h"

namespace deeplab {

struct CompiledNetwork {
  std::vector<Step> steps;  // one per node of the graph, in its order
  std::vector<LayerImplementation> layers;
  NetworkMemory memory;
  int64_t classes = 0;  // of the segmentation head
};

}  // namespace deeplab

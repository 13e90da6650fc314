// What CpuNetwork makes of a graph and an image size: steps for one image. A batch runs each step for one image after the
// other, while the step's weights are in the cache, and gives each the bits that it would get alone: a library that was
// told of all images at once would sum the products in another order.
#pragma once

#include <vector>

#include "backend/cpu/step.h"

namespace deeplab {

struct CompiledNetwork {
  std::vector<Step> steps;  // one per node of the graph, in its order
  std::vector<LayerImplementation> layers;
  std::vector<std::vector<StepMemory>> memory;  // of the steps, for each image
  size_t memory_bytes = 0;                      // of the whole block
  Shape logits;                                 // of one image
};

}  // namespace deeplab

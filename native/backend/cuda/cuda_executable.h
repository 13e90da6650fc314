// A compiled network at work on the GPU: uploads pixels, runs the steps, the head and the CRF, downloads results.
#pragma once

#include "backend/cuda/cuda_network.h"
#include "backend/cuda/segmentation_head.h"
#include "backend/cuda/step.h"

namespace deeplab::cuda {

// What CudaNetwork makes of a graph and an image size.
struct CompiledNetwork {
  std::vector<std::string> names;  // of the graph's nodes, in its order
  std::vector<Step> steps;         // one per node
  NetworkMemory memory;
  size_t logits_offset = 0;   // the head's input
  bool reads_pixels = false;  // else only a CRF does
  int64_t given_logits = 0;   // how many a run is given
  std::shared_ptr<const SegmentationHead> head;
};

std::unique_ptr<Executable> make_executable(CompiledNetwork network, const Shape& image,
                                            std::shared_ptr<NetworkDevice> device);

}  // namespace deeplab::cuda

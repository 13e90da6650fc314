// Timing a network's plans ahead of its use: `deeplab tune`. A GPU's backend times what its cache does not have while
// it compiles, so compiling is all there is to do.
#pragma once

#include <string>
#include <vector>

#include "session/model.h"

namespace deeplab {

struct Tuning {
  std::string device;
  Precision precision = Precision::kF32;
  std::string cache;  // folder
  std::vector<LayerImplementation> layers;
};

// For images [N,channels,H,W]. ERR_DEVICE_UNAVAILABLE on a device that times nothing: the CPU.
Result<Tuning> tune(const NetworkRequest& request, const Shape& images, const std::atomic<bool>& cancelled);

}  // namespace deeplab

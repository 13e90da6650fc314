// A weights file opened and understood: its config, its network, and the tensors to load into a backend.
#pragma once

#include <memory>
#include <string>

#include "core/safetensors.h"
#include "graph/config.h"
#include "graph/graph.h"

namespace deeplab {

struct Model {
  std::shared_ptr<const Safetensors> file;
  ModelConfig config;
  Graph graph;  // optimized
};

Result<Model> open_model(const std::string& path);

}  // namespace deeplab

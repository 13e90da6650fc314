// A weights file opened and understood: its config, its network, and the tensors; and what becomes of it on a device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "core/safetensors.h"
#include "graph/config.h"
#include "graph/graph.h"

namespace deeplab {

struct Model {
  std::shared_ptr<const Safetensors> file;
  ModelConfig config;
  Graph graph;  // optimized
};

// `output_stride`: another than the file's; 0: the file's.
Result<Model> open_model(const std::string& path, int output_stride = 0);

// Which weights to load into which device, and how.
struct NetworkRequest {
  std::string path;
  int output_stride = 0;  // 0: the file's
  std::string device = "auto";
  std::string cudnn;                   // folder to look for cuDNN in first; empty: none
  std::optional<Precision> precision;  // none: the device's best
  int threads = 1;
  bool winograd = true;
};

struct LoadedNetwork {
  ModelConfig config;
  Graph graph;
  Backend* backend;
  Precision precision;
  std::unique_ptr<Network> network;
};

Result<LoadedNetwork> load_network(const NetworkRequest& request);

}  // namespace deeplab

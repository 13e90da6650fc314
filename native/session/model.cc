#include "session/model.h"

#include "graph/deeplab_v2.h"
#include "graph/passes.h"

namespace deeplab {

Result<Model> open_model(const std::string& path) {
  auto file = Safetensors::open(path);
  if (!file.ok()) return file.status();
  auto config = parse_config((*file)->metadata());
  if (!config.ok()) return error(config.status().code(), path, ": ", config.status().message());
  Graph graph = optimize(build_deeplab_v2(*config));
  return Model{std::move(*file), std::move(*config), std::move(graph)};
}

}  // namespace deeplab

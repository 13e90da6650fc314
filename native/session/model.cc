#include "session/model.h"

#include "graph/deeplab.h"
#include "graph/passes.h"

namespace deeplab {

Result<Model> open_model(const std::string& path, int output_stride) {
  auto file = Safetensors::open(path);
  if (!file.ok()) return file.status();
  auto config = parse_config((*file)->metadata());
  if (!config.ok()) return error(config.status().code(), path, ": ", config.status().message());
  if (output_stride != 0) DEEPLAB_RETURN_IF_ERROR(set_output_stride(*config, output_stride));
  Graph graph = optimize(build_deeplab(*config));
  return Model{std::move(*file), std::move(*config), std::move(graph)};
}

Result<LoadedNetwork> load_network(const NetworkRequest& request) {
  auto model = open_model(request.path, request.output_stride);
  if (!model.ok()) return model.status();
  auto backend = find_backend(request.device, request.cudnn);
  if (!backend.ok()) return backend.status();
  NetworkOptions options;
  options.precision = request.precision.value_or((*backend)->auto_precision());
  options.threads = request.threads;
  options.winograd = request.winograd;
  auto network = (*backend)->load(model->file, options);
  if (!network.ok()) return network.status();
  return LoadedNetwork{std::move(model->config), std::move(model->graph), *backend, options.precision,
                       std::move(*network)};
}

}  // namespace deeplab

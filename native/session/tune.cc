#include "session/tune.h"

#include "backend/cuda_library.h"

namespace deeplab {

Result<Tuning> tune(const NetworkRequest& request, const Shape& images, const std::atomic<bool>& cancelled) {
  auto backend = find_backend(request.device, request.cudnn);
  if (!backend.ok()) return backend.status();
  const std::string cache = (*backend)->plan_cache();
  if (cache.empty()) {
    const std::string device = (*backend)->device();
    const std::string why =
        device == request.device ? "" : ", and no GPU can be used: " + describe_cuda(request.cudnn).reason;
    return error(Code::kDeviceUnavailable, "there is nothing to tune: device '", device, "' times nothing", why);
  }
  auto loaded = load_network(request);
  if (!loaded.ok()) return loaded.status();
  auto executable = loaded->network->compile(loaded->graph, images, cancelled);
  if (!executable.ok()) return executable.status();
  return Tuning{loaded->backend->device(), loaded->precision, cache, (*executable)->layers()};
}

}  // namespace deeplab

#include "backend/backend.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_library.h"

namespace deeplab {
namespace {

// "cuda" -> -1, the first that can compute; "cuda:N" -> N; anything else -> nothing.
std::optional<int> gpu_index(const std::string& device) {
  if (device == "cuda") return -1;
  constexpr size_t kPrefix = 5, kMostDigits = 4;
  if (device.rfind("cuda:", 0) != 0 || device.size() == kPrefix || device.size() > kPrefix + kMostDigits) return {};
  if (device.find_first_not_of("0123456789", kPrefix) != std::string::npos) return {};
  return std::stoi(device.substr(kPrefix));
}

}  // namespace

Result<Backend*> find_backend(const std::string& device, const std::string& cudnn) {
  if (device == "cpu") return cpu_backend();
  if (device == "auto") {
    auto gpu = cuda_backend(-1, cudnn);
    return gpu.ok() ? *gpu : cpu_backend();
  }
  const auto index = gpu_index(device);
  if (!index) {
    return error(Code::kInvalidArgument, "expected 'auto', 'cpu', 'cuda' or 'cuda:N' for device, received '", device,
                 "'");
  }
  auto gpu = cuda_backend(*index, cudnn);
  if (gpu.ok() || gpu.status().code() != Code::kDeviceUnavailable) return gpu;
  return error(Code::kDeviceUnavailable, "device '", device, "' cannot be had: ", gpu.status().message());
}

}  // namespace deeplab

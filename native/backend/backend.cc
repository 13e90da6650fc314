#include "backend/backend.h"

#include "backend/cpu/cpu_backend.h"

namespace deeplab {

const char* precision_name(Precision precision) { return precision == Precision::kBF16 ? "bf16" : "f32"; }

std::string gpu_missing_reason() { return "this version of deeplab has no CUDA backend: it computes on the CPU"; }

Result<Backend*> find_backend(const std::string& device) {
  if (device == "auto" || device == "cpu") return cpu_backend();
  if (device.rfind("cuda", 0) == 0) {
    return error(Code::kDeviceUnavailable, "device '", device, "' cannot be had: ", gpu_missing_reason());
  }
  return error(Code::kInvalidArgument, "expected 'auto', 'cpu', 'cuda' or 'cuda:N' for device, received '", device,
               "'");
}

}  // namespace deeplab

// Fuzz target of the weights reader: any bytes must give a file or an error, and every tensor of a file it accepts must
// be readable or refused.

#include "core/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = deeplab::Safetensors::parse(reinterpret_cast<const std::byte*>(data), size, "fuzz");
  if (!file.ok()) {
    if (file.status().message().empty()) __builtin_trap();
    return 0;
  }
  for (const auto& [name, view] : (*file)->tensors()) {
    const auto values = (*file)->read_f32(name, view.dims);
    if (values.ok() && static_cast<int64_t>(values->size()) != view.elements) __builtin_trap();
  }
  return 0;
}

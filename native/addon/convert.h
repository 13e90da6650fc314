// C++ values as JavaScript values, in the shapes that lib/native.ts declares.
#pragma once

#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/tensor.h"
#include "graph/config.h"
#include "session/model.h"

namespace deeplab {

// Fills in the fields of NativeModelConfig.
void set_config(Napi::Object object, const ModelConfig& config);

Napi::Array to_array(Napi::Env env, const std::vector<std::string>& values);
Napi::Array to_array(Napi::Env env, const Dims& dims);

constexpr int64_t kMaxImageSide = 1 << 20;

// Arguments of exported functions. The TypeScript layer has validated what users pass, so these are the last line of
// defence; they throw ERR_INVALID_ARGUMENT.
std::string string_argument(const Napi::Value& value, const char* name);
int64_t integer_argument(const Napi::Value& value, const char* name, int64_t min, int64_t max);
// The index of the value among `count` names.
size_t choice_argument(const Napi::Value& value, const char* argument, const char* const* names, size_t count);
// The same as an enum whose values are in the order of the names.
template <typename Enum, size_t kCount>
Enum choice_argument(const Napi::Value& value, const char* argument, const char* const (&names)[kCount]) {
  return static_cast<Enum>(choice_argument(value, argument, names, kCount));
}
// "auto" is no precision: the device's best.
std::optional<Precision> precision_argument(const Napi::Value& value);
// 0 is the file's.
int output_stride_argument(const Napi::Value& value);
// The `__metadata__` of a weights file, as an object of strings, parsed.
ModelConfig metadata_argument(const Napi::Value& value);
// A weights file, and of NativeLoadOptions the fields outputStride, device, cudnn, precision and winograd.
NetworkRequest network_argument(const Napi::Value& path, const Napi::Object& options);
Napi::Object object_argument(const Napi::Value& value, const char* name);
double number_argument(const Napi::Value& value, const char* name, double min, double max);
// `elements` < 0: any number of them.
Napi::Float32Array floats_argument(const Napi::Value& value, const char* name, int64_t elements);
Napi::Uint8Array bytes_argument(const Napi::Value& value, const char* name, int64_t elements);
// [1,channels,H,W], channels 1, 3 or 4.
Shape image_argument(const Napi::Value& width, const Napi::Value& height, const Napi::Value& channels);

}  // namespace deeplab

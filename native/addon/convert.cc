#include "addon/convert.h"

#include <cmath>
#include <map>
#include <sstream>

#include "addon/crf_parameters.h"
#include "addon/environment.h"

namespace deeplab {
namespace {

Napi::Error wrong_argument(Napi::Env env, const char* name, const std::string& expected) {
  return to_error(env, error(Code::kInvalidArgument, "Expected ", expected, " for ", name));
}

}  // namespace

Napi::Array to_array(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) array[i] = Napi::String::New(env, values[i]);
  return array;
}

Napi::Array to_array(Napi::Env env, const Dims& dims) {
  Napi::Array array = Napi::Array::New(env, dims.size());
  for (uint32_t i = 0; i < dims.size(); ++i) array[i] = static_cast<double>(dims[i]);
  return array;
}

void set_config(Napi::Object object, const ModelConfig& config) {
  const Napi::Env env = object.Env();
  object["architecture"] = config.architecture;
  object["backbone"] = config.backbone;
  object["outputStride"] = config.output_stride;
  object["asppRates"] = to_array(env, Dims(config.aspp_rates.begin(), config.aspp_rates.end()));
  object["classes"] = to_array(env, config.classes);
  Napi::Array palette = Napi::Array::New(env, config.palette.size());
  for (uint32_t i = 0; i < config.palette.size(); ++i) {
    palette[i] = to_array(env, Dims(config.palette[i].begin(), config.palette[i].end()));
  }
  object["palette"] = palette;
  object["crf"] = crf_parameters(env, config.crf);
  Napi::Object metadata = Napi::Object::New(env);
  for (const auto& [key, value] : config.metadata) metadata[key] = value;
  object["metadata"] = metadata;
}

std::string string_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw wrong_argument(value.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

int64_t integer_argument(const Napi::Value& value, const char* name, int64_t min, int64_t max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= static_cast<double>(min) && number <= static_cast<double>(max)) || number != std::floor(number)) {
    throw wrong_argument(value.Env(), name, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return static_cast<int64_t>(number);
}

size_t choice_argument(const Napi::Value& value, const char* argument, const char* const* names, size_t count) {
  const std::string name = string_argument(value, argument);
  for (size_t i = 0; i < count; ++i) {
    if (name == names[i]) return i;
  }
  throw to_error(value.Env(), error(Code::kInvalidArgument, "Unknown ", argument, " '", name, "'"));
}

std::optional<Precision> precision_argument(const Napi::Value& value) {
  const std::string name = string_argument(value, "precision");
  for (const Precision precision : {Precision::kF32, Precision::kTF32, Precision::kBF16, Precision::kF16}) {
    if (name == precision_name(precision)) return precision;
  }
  if (name != "auto") throw wrong_argument(value.Env(), "precision", "auto, f32, tf32, bf16 or f16");
  return std::nullopt;
}

int output_stride_argument(const Napi::Value& value) {
  return static_cast<int>(integer_argument(value, "outputStride", 0, 16));
}

NetworkRequest network_argument(const Napi::Value& path, const Napi::Object& options) {
  NetworkRequest request;
  request.path = string_argument(path, "path");
  request.output_stride = output_stride_argument(options.Get("outputStride"));
  request.device = string_argument(options.Get("device"), "device");
  request.cudnn = string_argument(options.Get("cudnn"), "cudnn");
  request.precision = precision_argument(options.Get("precision"));
  request.winograd = options.Get("winograd").ToBoolean();
  return request;
}

Napi::Object object_argument(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw wrong_argument(value.Env(), name, "an object");
  return value.As<Napi::Object>();
}

double number_argument(const Napi::Value& value, const char* name, double min, double max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= min && number <= max)) {
    std::ostringstream range;
    range << "a number from " << min << " to " << max;
    throw wrong_argument(value.Env(), name, range.str());
  }
  return number;
}

namespace {

template <typename Array>
Array array_argument(const Napi::Value& value, const char* name, int64_t elements, napi_typedarray_type type,
                     const char* type_name) {
  const auto fail = [&] {
    const std::string size = elements < 0 ? "" : " of " + std::to_string(elements) + " elements";
    return wrong_argument(value.Env(), name, type_name + size);
  };
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) throw fail();
  // Looked at once: another thread can make a shared array grow.
  const auto array = value.As<Array>();
  if (elements >= 0 && static_cast<int64_t>(array.ElementLength()) != elements) throw fail();
  return array;
}

}  // namespace

Napi::Float32Array floats_argument(const Napi::Value& value, const char* name, int64_t elements) {
  return array_argument<Napi::Float32Array>(value, name, elements, napi_float32_array, "Float32Array");
}

Napi::Uint8Array bytes_argument(const Napi::Value& value, const char* name, int64_t elements) {
  return array_argument<Napi::Uint8Array>(value, name, elements, napi_uint8_array, "Uint8Array");
}

ModelConfig metadata_argument(const Napi::Value& value) {
  const Napi::Object given = object_argument(value, "metadata");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : given) {
    metadata[key.As<Napi::String>()] = string_argument(static_cast<Napi::Value>(text), "metadata");
  }
  auto config = parse_config(metadata);
  if (!config.ok()) throw to_error(value.Env(), config.status());
  return std::move(*config);
}

Shape image_argument(const Napi::Value& width, const Napi::Value& height, const Napi::Value& channels) {
  const Shape image{1, integer_argument(channels, "channels", 1, 4),
                    integer_argument(height, "height", 1, kMaxImageSide),
                    integer_argument(width, "width", 1, kMaxImageSide)};
  if (image.c == 2) throw wrong_argument(channels.Env(), "channels", "1, 3 or 4");
  return image;
}

}  // namespace deeplab

#include "core/dtype.h"

namespace deeplab {
namespace {

struct Description {
  DType dtype;
  const char* name;
  size_t size;
};

constexpr Description kDescriptions[] = {
    {DType::kBool, "BOOL", 1}, {DType::kU8, "U8", 1},   {DType::kI8, "I8", 1},     {DType::kU16, "U16", 2},
    {DType::kI16, "I16", 2},   {DType::kU32, "U32", 4}, {DType::kI32, "I32", 4},   {DType::kU64, "U64", 8},
    {DType::kI64, "I64", 8},   {DType::kF16, "F16", 2}, {DType::kBF16, "BF16", 2}, {DType::kF32, "F32", 4},
    {DType::kF64, "F64", 8},
};

const Description& describe(DType dtype) { return kDescriptions[static_cast<size_t>(dtype)]; }

}  // namespace

size_t element_size(DType dtype) { return describe(dtype).size; }

const char* dtype_name(DType dtype) { return describe(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Description& description : kDescriptions) {
    if (name == description.name) return description.dtype;
  }
  return std::nullopt;
}

float float_from_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000 | (mantissa << 13));
  return float_from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t f16_from_float(float value) {
  const uint32_t bits = bits_from_float(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) return sign | 0x7c00;  // 65536 and more
  // Adding a power of two whose last bit is worth what the result's is makes the addition do the rounding: 2^-1 for
  // subnormal results, whose last bit is worth 2^-24; else 13 bits are rounded away.
  if (magnitude < 0x38800000) {  // below 2^-14
    return sign | static_cast<uint16_t>(bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000);
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

}  // namespace deeplab

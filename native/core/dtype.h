// Element types as they are stored in weights files, and their exact conversion to float.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace deeplab {

enum class DType { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kBF16, kF32, kF64 };

size_t element_size(DType dtype);
// The safetensors name: "F32", "BF16", ...
const char* dtype_name(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// bfloat16 is the upper half of a float.
inline float float_from_bf16(uint16_t bits) { return float_from_bits(static_cast<uint32_t>(bits) << 16); }

// Round to nearest, ties to even; the value must be finite.
inline uint16_t bf16_from_float(float value) {
  const uint32_t bits = bits_from_float(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// IEEE 754 binary16, subnormals, infinities and NaN included.
float float_from_f16(uint16_t bits);
// Round to nearest, ties to even; beyond 65504, infinity. The value must not be NaN.
uint16_t f16_from_float(float value);

}  // namespace deeplab

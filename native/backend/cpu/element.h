// The elements of activations in memory, for loops over them: float, or uint16_t, which holds bf16.
#pragma once

#include "core/dtype.h"

namespace deeplab {

inline float read_element(float value) { return value; }
inline float read_element(uint16_t value) { return float_from_bf16(value); }

inline void write_element(float* out, float value) { *out = value; }
inline void write_element(uint16_t* out, float value) { *out = bf16_from_float(value); }

}  // namespace deeplab

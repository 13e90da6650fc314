// Filtering with a lattice: splat, blur along each axis, slice (Adams, Baek and Davis 2010, section 3). Values are rows
// of classes, `stride` floats each: 1, 4 or a multiple of 8. All of a step must be done before the next begins.
#pragma once

#include "backend/cpu/lattice.h"

namespace deeplab {

// Floats in a row of `classes` values; those beyond are zero.
constexpr int64_t row_stride(int64_t classes) { return classes <= 4 ? 4 : (classes + 7) / 8 * 8; }

// in[points, stride] -> values[vertices, stride], for vertices in [begin, end).
void lattice_splat(const Lattice& lattice, const float* in, int64_t stride, uint32_t begin, uint32_t end,
                   float* values);

// In place, for the chains of `axis` in [begin, end).
void lattice_blur(const Lattice& lattice, int axis, size_t begin, size_t end, float* values, int64_t stride);

// values[vertices, stride] -> out[points, stride], for points in [begin, end).
void lattice_slice(const Lattice& lattice, const float* values, int64_t stride, int64_t begin, int64_t end, float* out);

// Where part `part` of `parts` of `count` items begins; that of the next part is where it ends.
constexpr int64_t part_begin(int64_t count, int64_t part, int64_t parts) { return count * part / parts; }

// A part of splatting: vertices with as many splats as every other part's. A part of blurring: whole chains.
void splat_part(const Lattice& lattice, int64_t part, int64_t parts, const float* in, int64_t stride, float* values);
void blur_part(const Lattice& lattice, int axis, int64_t part, int64_t parts, float* values, int64_t stride);

}  // namespace deeplab

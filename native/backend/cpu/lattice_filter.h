// Filtering with a lattice: splat, blur along each axis, slice (Adams, Baek and Davis 2010, section 3). Values are rows
// of classes, `stride` floats each: 1, 4 or a multiple of 8. Each function does a part of the work, which members of a
// Team divide among them; all of a step must be done before the next begins.
#pragma once

#include "backend/cpu/lattice.h"
#include "backend/cpu/team.h"

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

// Member's share of splatting: vertices with as many splats as everybody else's.
void splat_share(const Lattice& lattice, const Team& team, int member, const float* in, int64_t stride, float* values);
void blur_share(const Lattice& lattice, const Team& team, int member, int axis, float* values, int64_t stride);

}  // namespace deeplab

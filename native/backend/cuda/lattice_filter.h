// Filtering with a lattice on the device: splat, blur along each axis, slice (Adams, Baek and Davis 2010, section 3).
// Values are rows of Lanes, each one thread's work: of four floats for classes, of one for the normalization.
#pragma once

#include <utility>

#include "backend/cuda/device.h"
#include "crf/lattice.h"

namespace deeplab::cuda {

// Four classes of a row, read and written in one access.
struct alignas(16) Floats4 {
  float x, y, z, w;
};

DEEPLAB_INLINE Floats4 operator+(const Floats4& a, const Floats4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
DEEPLAB_INLINE Floats4 operator-(const Floats4& a) { return {-a.x, -a.y, -a.z, -a.w}; }
DEEPLAB_INLINE Floats4 operator*(const Floats4& a, float b) { return {a.x * b, a.y * b, a.z * b, a.w * b}; }
DEEPLAB_INLINE Floats4 operator*(const Floats4& a, const Floats4& b) {
  return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w};
}

// One term of a vertex' sum.
struct alignas(8) Splat {
  uint32_t point;
  float weight;
};

// Consecutive splats of one vertex, up to where the next chunk begins.
struct alignas(8) Chunk {
  uint32_t vertex;
  uint32_t begin;
};

constexpr uint32_t kMaxChunk = 64;

// Chunks after their vertices' first ones, at most.
constexpr int64_t extra_rows(int64_t splats) { return splats / kMaxChunk + 1; }

// Along an axis.
struct alignas(8) Neighbors {
  uint32_t previous;
  uint32_t next;
};

constexpr uint32_t kNoVertex = UINT32_MAX;

// What filters read, in device memory.
struct LatticeView {
  int corner_count;
  int64_t capacity;              // vertices that there is room for
  const uint32_t* vertex_count;  // at most `capacity`
  const uint32_t* chunk_count;
  const uint32_t* extra_count;
  const Splat* splats;             // by vertex, then by point
  const Chunk* chunks;             // [*chunk_count + 1]
  const uint32_t* extra_vertices;  // [*extra_count + 1], of the chunks that are not their vertices' first ones
  const Neighbors* neighbors;      // [corner_count, capacity]
  const uint32_t* corners;         // [points, corner_count]
  const float* weights;            // [points, corner_count]
};

// Index i of [rows, lanes] as row and lane. Rows are few enough for 32 bits (MeanField::create), which divide and
// multiply much faster than 64.
struct RowLane {
  uint32_t row;
  uint32_t lane;
};
DEEPLAB_INLINE RowLane row_and_lane(int64_t i, uint32_t lanes) {
  const auto index = static_cast<uint32_t>(i);
  return {index / lanes, index % lanes};
}

// Sums a chunk. A vertex' first one goes to its value, the others, until AddExtras, to rows of their own.
template <typename Lane>
struct SplatChunks {
  LatticeView lattice;
  uint32_t lanes;
  const Lane* in;  // [points, lanes]
  Lane* values;    // [capacity, lanes]
  Lane* extras;    // [*extra_count, lanes]

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const auto [index, lane] = row_and_lane(i, lanes);
    const Chunk chunk = lattice.chunks[index];
    if (chunk.vertex >= lattice.capacity) return;
    const uint32_t end = lattice.chunks[index + 1].begin;
    Lane sum{};
    for (uint32_t s = chunk.begin; s < end; ++s) {
      const Splat splat = lattice.splats[s];
      sum = sum + in[splat.point * lanes + lane] * splat.weight;
    }
    const bool first = index == 0 || lattice.chunks[index - 1].vertex != chunk.vertex;
    if (first) {
      values[chunk.vertex * lanes + lane] = sum;
    } else {
      extras[(index - chunk.vertex - 1) * lanes + lane] = sum;  // that many chunks before it are first ones
    }
  }
};

// Adds extra chunks to their vertices, all of a vertex by the thread that has its first one.
template <typename Lane>
struct AddExtras {
  LatticeView lattice;
  uint32_t lanes;
  const Lane* extras;
  Lane* values;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const auto [first, lane] = row_and_lane(i, lanes);
    const uint32_t vertex = lattice.extra_vertices[first];
    if (vertex >= lattice.capacity || (first > 0 && lattice.extra_vertices[first - 1] == vertex)) return;
    Lane sum = values[vertex * lanes + lane];
    for (uint32_t extra = first; lattice.extra_vertices[extra] == vertex; ++extra) {
      sum = sum + extras[extra * lanes + lane];
    }
    values[vertex * lanes + lane] = sum;
  }
};

template <typename Lane>
struct Blur {
  const Neighbors* neighbors;  // along the axis
  uint32_t lanes;
  const Lane* in;
  Lane* out;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const auto [vertex, lane] = row_and_lane(i, lanes);
    const Neighbors at = neighbors[vertex];
    const Lane zero{};
    const Lane previous = at.previous == kNoVertex ? zero : in[at.previous * lanes + lane];
    const Lane next = at.next == kNoVertex ? zero : in[at.next * lanes + lane];
    out[i] = lattice_blur(previous, in[i], next);
  }
};

// What the corners of point `point` make of the filtered values, for one lane. `kCorners`: as many as the compiler may
// know, or 0.
template <int kCorners, typename Lane>
DEEPLAB_INLINE Lane slice(const uint32_t* corners, const float* weights, int corner_count, const Lane* values,
                          uint32_t lanes, uint32_t point, uint32_t lane) {
  const int count = kCorners > 0 ? kCorners : corner_count;
  Lane sum{};
  for (int i = 0; i < count; ++i) {
    const uint32_t at = point * count + i;
    sum = sum + values[corners[at] * lanes + lane] * weights[at];
  }
  return sum;
}

template <typename Lane>
DEEPLAB_INLINE Lane slice(const uint32_t* corners, const float* weights, int corner_count, const Lane* values,
                          uint32_t lanes, uint32_t point, uint32_t lane) {
  switch (corner_count) {
    case 3: return slice<3>(corners, weights, 3, values, lanes, point, lane);
    case 6: return slice<6>(corners, weights, 6, values, lanes, point, lane);
    default: return slice<0>(corners, weights, corner_count, values, lanes, point, lane);
  }
}

// Splats `in` and blurs along every axis, into `values`; `scratch` is as large.
template <typename Lane>
Status lattice_filter(Stream stream, const LatticeView& lattice, uint32_t lanes, const Lane* in, Lane* values,
                      Lane* scratch, Lane* extras) {
  // Blurs change places an odd or even number of times, and end in `values`.
  Lane* from = lattice.corner_count % 2 == 0 ? values : scratch;
  Lane* to = lattice.corner_count % 2 == 0 ? scratch : values;
  DEEPLAB_RETURN_IF_ERROR(
      launch_counted(stream, lattice.chunk_count, lanes, SplatChunks<Lane>{lattice, lanes, in, from, extras}));
  DEEPLAB_RETURN_IF_ERROR(
      launch_counted(stream, lattice.extra_count, lanes, AddExtras<Lane>{lattice, lanes, extras, from}));
  for (int axis = 0; axis < lattice.corner_count; ++axis) {
    const Neighbors* neighbors = lattice.neighbors + axis * lattice.capacity;
    DEEPLAB_RETURN_IF_ERROR(
        launch_counted(stream, lattice.vertex_count, lanes, Blur<Lane>{neighbors, lanes, from, to}));
    std::swap(from, to);
  }
  return Status();
}

}  // namespace deeplab::cuda

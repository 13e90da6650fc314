// The kernels that build a lattice (lattice.cc). A splat is a point's corner, number point * (d + 1) + remainder; once
// splats are sorted by the code of their vertex, vertices are runs of equal codes.
#pragma once

#include <array>

#include "backend/cuda/device.h"
#include "backend/cuda/lattice_filter.h"
#include "crf/lattice.h"
#include "crf/lattice_layout.h"

namespace deeplab::cuda {

// crf/lattice_layout.h's LatticePoints, in device memory.
struct PointFeatures {
  CrfKernel kernel;
  int dimensions;
  int x_feature;
  uint32_t width;
  int64_t points;
  std::array<float, 5> deviations;
  int64_t channels;
  const uint8_t* pixels;
  const float* features;

  // Position first, in the order of the coordinates, then colour.
  DEEPLAB_INLINE void read(int d, int64_t point, float* feature) const {
    if (kernel == CrfKernel::kFeatures) {
      for (int j = 0; j < d; ++j) feature[j] = features[j * points + point];
      return;
    }
    const auto x = static_cast<float>(static_cast<uint32_t>(point) % width) / deviations[0];
    const auto y = static_cast<float>(static_cast<uint32_t>(point) / width) / deviations[1];
    feature[0] = x_feature == 0 ? x : y;
    feature[1] = x_feature == 0 ? y : x;
    const uint8_t* pixel = pixels + point * channels;
    for (int j = 2; j < d; ++j) {
      feature[j] = static_cast<float>(pixel[channels == 1 ? 0 : j - 2]) / deviations[j];
    }
  }
};

// The arithmetic of codes: crf/vertex_code.h's CodeLayout with steps worked out.
template <int kWords, int kMaxDimensions>
struct CodeSteps {
  std::array<int64_t, kMaxDimensions> lowest;
  std::array<VertexCode<kWords>, kMaxDimensions + 1> units, steps;
  VertexCode<kWords> ones;

  explicit CodeSteps(const CodeLayout& layout) : ones(layout.ones<kWords>()) {
    for (int j = 0; j <= layout.dimensions; ++j) {
      if (j < layout.dimensions) lowest[j] = layout.fields[j].lowest;
      units[j] = layout.unit<kWords>(j);
      steps[j] = layout.step<kWords>(j);
    }
  }
};

// The simplex of a point: weights and codes of its corners, the codes a word after the other. kDimensions: 2 and 5 are
// known to the compiler, so that nothing needs an address; 0 is any number.
template <int kWords, int kDimensions>
struct LocatePoints {
  static constexpr int kMax = kDimensions > 0 ? kDimensions : kMaxCrfDimensions;

  PointFeatures features;
  CodeSteps<kWords, kMax> codes;
  std::array<float, kMax> scales;
  float* weights;    // [points, d + 1]
  uint64_t* keys;    // [kWords, points * (d + 1)]
  uint32_t* splats;  // [points * (d + 1)], each its own number

  DEEPLAB_INLINE void operator()(int64_t point) const {
    const int d = kDimensions > 0 ? kDimensions : features.dimensions;
    float feature[kMax], elevated[kMax + 1], origin[kMax + 1], rank[kMax + 1], weight[kMax + 1];
    features.read(d, point, feature);
    lattice_elevate(d, scales.data(), feature, elevated);
    lattice_simplex(d, elevated, origin, rank);
    lattice_weights(d, elevated, origin, rank, weight);
    VertexCode<kWords> code;
    for (int j = 0; j < d; ++j) {
      const auto value = static_cast<uint64_t>(static_cast<int64_t>(origin[j]) - codes.lowest[j]);
      for (int word = 0; word < kWords; ++word) code.words[word] += codes.units[j].words[word] * value;
    }
    // From a corner to the next, all coordinates grow by one, and the one whose turn it is falls by d + 1 (page 6).
    const int64_t first = point * (d + 1), total = features.points * (d + 1);
    for (int i = 0; i <= d; ++i) {
      if (i > 0) {
        code = code + codes.ones;
        const auto turn = static_cast<float>(d - i + 1);
        for (int j = 0; j <= d; ++j) {
          if (rank[j] == turn) code = code - codes.steps[j];
        }
      }
      weights[first + i] = weight[i];
      splats[first + i] = static_cast<uint32_t>(first + i);
      for (int word = 0; word < kWords; ++word) keys[word * total + first + i] = code.words[word];
    }
  }
};

// A word of each splat's code, in the order of `splats`.
struct GatherWord {
  const uint64_t* word;
  const uint32_t* splats;
  uint64_t* gathered;

  DEEPLAB_INLINE void operator()(int64_t i) const { gathered[i] = word[splats[i]]; }
};

// Codes in the order of splats that are sorted by them.
template <int kWords>
struct SortedCodes {
  int64_t total;
  const uint64_t* keys;    // [kWords, total]
  const uint32_t* splats;  // [total], sorted

  DEEPLAB_INLINE VertexCode<kWords> at(int64_t i) const {
    VertexCode<kWords> code;
    for (int word = 0; word < kWords; ++word) code.words[word] = keys[word * total + splats[i]];
    return code;
  }
};

// One word was sorted along.
template <>
struct SortedCodes<1> {
  const uint64_t* sorted;

  DEEPLAB_INLINE VertexCode<1> at(int64_t i) const {
    VertexCode<1> code;
    code.words[0] = sorted[i];
    return code;
  }
};

template <int kWords>
struct MarkRuns {
  SortedCodes<kWords> codes;
  uint32_t* starts;

  DEEPLAB_INLINE void operator()(int64_t i) const { starts[i] = i == 0 || !(codes.at(i) == codes.at(i - 1)); }
};

// What a build counts, on the device.
struct LatticeCounts {
  uint32_t vertices;  // there is room for
  uint32_t chunks;
  uint32_t extras;  // chunks that are not their vertices' first ones
  uint32_t wanted;  // vertices that there are
  uint32_t most;    // that there were since the last look
};

// `numbers` counts the runs up to each splat: the vertex' number, plus one.
template <int kWords>
struct NumberVertices {
  SortedCodes<kWords> codes;
  const uint32_t* numbers;
  int64_t total;
  int64_t capacity;
  VertexCode<kWords>* vertex_codes;  // [total]
  uint32_t* splat_begin;             // [total]
  LatticeCounts* counts;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const uint32_t number = numbers[i];
    if (i == 0 || numbers[i - 1] != number) {
      vertex_codes[number - 1] = codes.at(i);
      splat_begin[number - 1] = static_cast<uint32_t>(i);
    }
    if (i + 1 < total) return;
    counts->vertices = number < capacity ? number : static_cast<uint32_t>(capacity);
    counts->wanted = number;
    if (counts->most < number) counts->most = number;
  }
};

struct MarkChunks {
  const uint32_t* numbers;
  const uint32_t* splat_begin;
  uint32_t* starts;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    starts[i] = (static_cast<uint32_t>(i) - splat_begin[numbers[i] - 1]) % kMaxChunk == 0;
  }
};

// `chunk_numbers` counts the chunks up to each splat.
struct PlaceSplats {
  const uint32_t* numbers;
  const uint32_t* chunk_numbers;
  const uint32_t* sorted;  // splats
  const float* weights;
  int64_t total;
  int64_t capacity;
  uint32_t corner_count;
  Splat* splats;
  Chunk* chunks;             // [total + 1]
  uint32_t* extra_vertices;  // [extra_rows(total)]
  uint32_t* corners;
  LatticeCounts* counts;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const uint32_t vertex = numbers[i] - 1, chunk = chunk_numbers[i] - 1, splat = sorted[i];
    splats[i] = {splat / corner_count, weights[splat]};
    corners[splat] = vertex < capacity ? vertex : static_cast<uint32_t>(capacity - 1);
    if (i == 0 || chunk_numbers[i - 1] != chunk_numbers[i]) {
      chunks[chunk] = {vertex, static_cast<uint32_t>(i)};
      // So many chunks before it are first ones, its vertex' own included.
      if (i > 0 && numbers[i - 1] == numbers[i]) extra_vertices[chunk - vertex - 1] = vertex;
    }
    if (i + 1 < total) return;
    chunks[chunk + 1] = {kNoVertex, static_cast<uint32_t>(total)};
    extra_vertices[chunk - vertex] = kNoVertex;
    counts->extras = chunk - vertex;
    counts->chunks = chunk + 1;
  }
};

// The neighbours along an axis differ by one in every coordinate but one, which differs by d (page 7): `step`.
template <int kWords>
struct FindNeighbors {
  const VertexCode<kWords>* codes;  // ascending
  const uint32_t* vertex_count;
  VertexCode<kWords> step;
  Neighbors* neighbors;  // of the axis, each none

  DEEPLAB_INLINE void operator()(int64_t vertex) const {
    const VertexCode<kWords> wanted = codes[vertex] + step;
    uint32_t low = 0, high = *vertex_count;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      if (codes[middle] < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == *vertex_count || !(codes[low] == wanted)) return;
    neighbors[vertex].next = low;
    neighbors[low].previous = static_cast<uint32_t>(vertex);
  }
};

struct FillOnes {
  float* values;

  DEEPLAB_INLINE void operator()(int64_t i) const { values[i] = 1.0f; }
};

// A point's factor: what makes the filter of ones one (Krähenbühl and Koltun, section 5; symmetric: as much of it
// before as after). Multiplies the weights of its corners unless it is for splatting only.
struct NormalizeCorners {
  LatticeView lattice;
  const float* filtered;  // ones
  float gain;
  CrfNormalization kind;
  float* weights;  // lattice.weights
  float* factors;

  DEEPLAB_INLINE void operator()(int64_t point) const {
    // A point always gives to itself; this is for what rounding makes of features that are far from zero.
    constexpr float kLeastSum = 1e-20f;
    const float sliced =
        slice(lattice.corners, lattice.weights, lattice.corner_count, filtered, 1, static_cast<uint32_t>(point), 0) *
        gain;
    const float sum = sliced < kLeastSum ? kLeastSum : sliced;
    const float factor = 1.0f / (kind == CrfNormalization::kSymmetric ? std::sqrt(sum) : sum);
    factors[point] = factor;
    if (kind == CrfNormalization::kBefore) return;
    for (int i = 0; i < lattice.corner_count; ++i) weights[point * lattice.corner_count + i] *= factor;
  }
};

struct NormalizeSplats {
  const float* factors;
  Splat* splats;

  DEEPLAB_INLINE void operator()(int64_t i) const { splats[i].weight *= factors[splats[i].point]; }
};

}  // namespace deeplab::cuda

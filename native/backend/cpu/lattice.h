// The permutohedral lattice of an image, built: which vertices its points splat to and slice from, and which vertices
// are neighbours. Built once per image and kernel, used by every mean-field iteration. How to filter with it is
// lattice_filter.h's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/array.h"
#include "core/status.h"
#include "crf/lattice_layout.h"

namespace deeplab {

struct Lattice {
  // One term of a vertex' sum.
  struct Splat {
    uint32_t point;
    float weight;
  };

  // The last vertex of a chain is marked by this bit.
  static constexpr uint32_t kChainEnd = uint32_t{1} << 31;

  int dimensions = 0;
  int64_t points = 0;
  uint32_t vertices = 0;
  float gain = 1;  // what sliced values are multiplied by

  // Splatting, by vertex: vertex v is the sum over splats[i], i in [splat_begin[v], splat_begin[v + 1]). In this order
  // every vertex is the work of one thread, and its sum the same however many there are.
  Array<uint32_t> splat_begin;  // [vertices + 1]
  Array<Splat> splats;          // [points * (dimensions + 1)]

  // Slicing, by point: the corners of its simplex.
  Array<uint32_t> corners;  // [points, dimensions + 1]
  Array<float> weights;     // [points, dimensions + 1]

  // Blurring, by axis: the vertices that have a neighbour, chain after chain of neighbours. Half of the neighbours that
  // the lattice could have do not exist, and a vertex without any stays what it is.
  std::array<Array<uint32_t>, kMaxCrfDimensions + 1> chains;

  // Memory that it holds.
  size_t bytes() const;
  // Where the chain begins that chains[axis][index] is part of, or the next one does.
  size_t chain_boundary(int axis, size_t index) const;
};

// Weights include the normalization. Uses `threads` threads; the result does not depend on them. `cancelled` is looked
// at between the stages and, in long ones, every few thousand points; once true, it ends with ERR_ABORTED.
Result<std::shared_ptr<const Lattice>> build_lattice(const LatticePoints& points, int threads,
                                                     const std::atomic<bool>& cancelled);

}  // namespace deeplab

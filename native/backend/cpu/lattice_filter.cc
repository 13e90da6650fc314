#include "backend/cpu/lattice_filter.h"

#include <algorithm>

#include "backend/cpu/rows.h"
#include "backend/cpu/vector.h"
#include "crf/lattice.h"

namespace deeplab {
namespace {

// Rows are fetched into the cache this many rows before they are needed: which ones they are is known long beforehand,
// and where they lie has no pattern that the processor would see by itself.
constexpr size_t kAhead = 128;

}  // namespace

DEEPLAB_MULTIVERSION
void lattice_splat(const Lattice& lattice, const float* in, int64_t row, uint32_t begin, uint32_t end, float* values) {
  const uint32_t* splat_begin = lattice.splat_begin.data();
  const Lattice::Splat* splats = lattice.splats.data();
  for_each_slab(row, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    for (uint32_t vertex = begin; vertex < end; ++vertex) {
      Row sum;
      for (uint32_t i = splat_begin[vertex]; i < splat_begin[vertex + 1]; ++i) {
        if (i + kAhead < lattice.splats.size()) prefetch<Row>(in + splats[i + kAhead].point * stride + offset);
        sum.add(splats[i].weight, Row::load(in + splats[i].point * stride + offset));
      }
      sum.store(values + vertex * stride + offset);
    }
  });
}

DEEPLAB_MULTIVERSION
void lattice_blur(const Lattice& lattice, int axis, size_t begin, size_t end, float* values, int64_t row) {
  if (begin == end) return;
  const uint32_t* chain = lattice.chains[axis].data();
  for_each_slab(row, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    const auto vertex_at = [&](size_t i) { return values + (chain[i] & ~Lattice::kChainEnd) * stride + offset; };
    // A vertex is overwritten while its old value is still at hand for the next one.
    Row previous;
    Row current = Row::load(vertex_at(begin));
    for (size_t i = begin; i < end; ++i) {
      if (i + kAhead < end) prefetch<Row>(vertex_at(i + kAhead));
      // At a chain's end neither vertex is a neighbour of the other. Not a branch: there is no guessing where
      // chains end.
      const float linked = (chain[i] & Lattice::kChainEnd) != 0 ? 0.0f : 1.0f;
      const Row following = Row::load(vertex_at(i + 1 < end ? i + 1 : i));
      Row blurred = current;
      blurred.apply([linked](auto& vertex, const auto& before,
                             const auto& after) { vertex = lattice_blur(before, vertex, after * linked); },
                    previous, following);
      blurred.store(vertex_at(i));
      previous.apply([linked](auto& before, const auto& vertex) { before = vertex * linked; }, current);
      current = following;
    }
  });
}

DEEPLAB_MULTIVERSION
void lattice_slice(const Lattice& lattice, const float* values, int64_t row, int64_t begin, int64_t end, float* out) {
  const int corners = lattice.dimensions + 1;
  for_each_slab(row, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    for (int64_t point = begin; point < end; ++point) {
      const uint32_t* vertex = lattice.corners.data() + point * corners;
      const float* weight = lattice.weights.data() + point * corners;
      Row sum;
      for (int i = 0; i < corners; ++i)
        sum.add(weight[i] * lattice.gain, Row::load(values + vertex[i] * stride + offset));
      sum.store(out + point * stride + offset);
    }
  });
}

void splat_part(const Lattice& lattice, int64_t part, int64_t parts, const float* in, int64_t stride, float* values) {
  const uint32_t* begin = lattice.splat_begin.data();
  const auto vertex_at = [&](int64_t which) {
    const int64_t splat = part_begin(lattice.splats.size(), which, parts);
    return static_cast<uint32_t>(std::lower_bound(begin, begin + lattice.vertices, splat) - begin);
  };
  lattice_splat(lattice, in, stride, vertex_at(part), vertex_at(part + 1), values);
}

void blur_part(const Lattice& lattice, int axis, int64_t part, int64_t parts, float* values, int64_t stride) {
  const auto boundary = [&](int64_t which) {
    return lattice.chain_boundary(axis, part_begin(lattice.chains[axis].size(), which, parts));
  };
  lattice_blur(lattice, axis, boundary(part), boundary(part + 1), values, stride);
}

}  // namespace deeplab

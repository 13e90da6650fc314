#include "backend/cpu/mean_field.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "backend/cpu/rows.h"
#include "backend/cpu/vector.h"
#include "crf/mean_field.h"

namespace deeplab {
namespace {

// Points are updated a tile at a time, each part of the work for all of them: their logits stay in the L1 cache, and
// the processor works on several points at once.
constexpr int64_t kTile = 32;
constexpr int64_t kMaxStride = 256;

// Points [first, first + count) and their logits [count, stride].
struct Tile {
  const MeanFieldStep& step;
  int64_t first;
  int64_t count;
  float* logits;
};

// What slicing `term` gives at a point, whose simplex has that many corners.
template <typename Row, typename Corners>
DEEPLAB_INLINE Row slice(const FilteredTerm& term, Corners corners, int64_t point, int64_t offset, int64_t stride) {
  const uint32_t* vertex = term.lattice->corners.data() + point * corners;
  const float* weight = term.lattice->weights.data() + point * corners;
  // The rows of a point a little further on: see lattice_filter.cc.
  constexpr int64_t kAhead = 24;
  if (point + kAhead < term.lattice->points) {
    for (int i = 0; i < corners; ++i) prefetch<Row>(term.values + vertex[kAhead * corners + i] * stride + offset);
  }
  Row sum;
  for (int i = 0; i < corners; ++i) sum.add(weight[i], Row::load(term.values + vertex[i] * stride + offset));
  return sum;
}

// body(corners) with the number of a simplex' corners, which the compiler knows for the usual kernels.
template <typename Body>
DEEPLAB_INLINE void with_corners(const FilteredTerm& term, const Body& body) {
  switch (term.lattice->dimensions) {
    case 2: return body(std::integral_constant<int, 3>());
    case 5: return body(std::integral_constant<int, 6>());
    default: return body(term.lattice->dimensions + 1);
  }
}

DEEPLAB_INLINE void start_logits(const Tile& tile) {
  const float* unary = tile.step.unary + tile.first * tile.step.stride;
  for (int64_t i = 0; i < tile.count * tile.step.stride; ++i) tile.logits[i] = -unary[i];
}

// Adds what slicing gives times `factor_of(slab, offset)`, a number or a slab of them.
template <typename FactorOf>
DEEPLAB_INLINE void add_sliced(const Tile& tile, const FilteredTerm& term, const FactorOf& factor_of) {
  for_each_slab(tile.step.stride, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    const auto factor = factor_of(slab, offset);
    with_corners(term, [&](auto corners) DEEPLAB_INLINE_LAMBDA {
      for (int64_t i = 0; i < tile.count; ++i) {
        Row sum = Row::load(tile.logits + i * stride + offset);
        sum.add(factor, slice<Row>(term, corners, tile.first + i, offset, stride));
        sum.store(tile.logits + i * stride + offset);
      }
    });
  });
}

DEEPLAB_INLINE void add_matrix(const Tile& tile, const FilteredTerm& term) {
  float filtered[kTile * kMaxStride];
  for_each_slab(tile.step.stride, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    for (int64_t i = 0; i < tile.count; ++i) {
      slice<decltype(slab)>(term, term.lattice->dimensions + 1, tile.first + i, offset, stride)
          .store(filtered + i * stride + offset);
    }
  });
  for_each_slab(tile.step.stride, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    for (int64_t i = 0; i < tile.count; ++i) {
      Row sum = Row::load(tile.logits + i * stride + offset);
      for (int64_t c = 0; c < tile.step.classes; ++c) {
        sum.add(-filtered[i * stride + c], Row::load(term.table + c * stride + offset));  // symmetric
      }
      sum.store(tile.logits + i * stride + offset);
    }
  });
}

constexpr auto kLarger = [](const auto& a, const auto& b) DEEPLAB_INLINE_LAMBDA { return a > b ? a : b; };
constexpr auto kSum = [](const auto& a, const auto& b) DEEPLAB_INLINE_LAMBDA { return a + b; };

// `shifted` are logits less their largest one: log Q is that minus the logarithm of `sum`, so that no class needs one.
void add_energy(const MeanFieldStep& step, int64_t point, const float* shifted, float sum, FreeEnergy* energy) {
  const float* unary = step.unary + point * step.stride;
  const float* updated = step.updated + point * step.stride;
  const double log_sum = std::log(static_cast<double>(sum));
  double total = 0;
  for (int64_t c = 0; c < step.classes; ++c) {
    total +=
        static_cast<double>(updated[c]) * (static_cast<double>(unary[c]) + static_cast<double>(shifted[c]) - log_sum);
  }
  energy->unary_and_entropy += total;
}

// The messages are what the logits have besides -U.
void add_pairwise_energy(const Tile& tile, FreeEnergy* energy) {
  const MeanFieldStep& step = tile.step;
  for (int64_t i = 0; i < tile.count; ++i) {
    const int64_t row = (tile.first + i) * step.stride;
    double sum = 0;
    for (int64_t c = 0; c < step.classes; ++c) {
      sum -= static_cast<double>(step.marginals[row + c]) *
             (static_cast<double>(tile.logits[i * step.stride + c]) + static_cast<double>(step.unary[row + c]));
    }
    energy->pairwise += sum / 2;
  }
}

// body(slab, i, at) for every slab of every row of logits: of point i of the tile, at `at` of its floats.
template <typename Body>
DEEPLAB_INLINE void for_each_row(const Tile& tile, const Body& body) {
  for_each_slab(tile.step.stride, [&](auto slab, int64_t offset, int64_t stride) DEEPLAB_INLINE_LAMBDA {
    for (int64_t i = 0; i < tile.count; ++i) body(slab, i, i * stride + offset);
  });
}

// Q = softmax of the logits, in passes over the tile: what is one number for each row has latency that others hide.
DEEPLAB_INLINE void update_marginals(const Tile& tile, FreeEnergy* energy) {
  const MeanFieldStep& step = tile.step;
  float* const updated = step.updated + tile.first * step.stride;
  float max[kTile], sum[kTile] = {}, powers[kTile * kMaxStride];
  std::fill_n(max, kTile, -kPaddingEnergy);
  for_each_row(tile, [&](auto slab, int64_t i, int64_t at) DEEPLAB_INLINE_LAMBDA {
    max[i] = kLarger(max[i], slab.load(tile.logits + at).reduce(kLarger));
  });
  for_each_row(tile, [&](auto slab, int64_t i, int64_t at) DEEPLAB_INLINE_LAMBDA {
    slab = slab.load(tile.logits + at);
    slab.apply([&](auto& vector) DEEPLAB_INLINE_LAMBDA { vector = vector - max[i]; });
    slab.store(tile.logits + at);
  });
  const int64_t floats = tile.count * step.stride;
  std::fill(tile.logits + floats, tile.logits + (floats + kLanes - 1) / kLanes * kLanes, 0.0f);
  for (int64_t i = 0; i < floats; i += kLanes) store(powers + i, exp_nonpositive(load(tile.logits + i)));
  for_each_row(tile, [&](auto slab, int64_t i, int64_t at)
                         DEEPLAB_INLINE_LAMBDA { sum[i] += slab.load(powers + at).reduce(kSum); });
  for_each_row(tile, [&](auto slab, int64_t i, int64_t at) DEEPLAB_INLINE_LAMBDA {
    const float scale = 1.0f / sum[i];
    slab = slab.load(powers + at);
    slab.apply([scale](auto& vector) DEEPLAB_INLINE_LAMBDA { vector = vector * scale; });
    slab.store(updated + at);
  });
  if (energy == nullptr) return;
  for (int64_t i = 0; i < tile.count; ++i) {
    add_energy(step, tile.first + i, tile.logits + i * step.stride, sum[i], energy);
  }
}

}  // namespace

DEEPLAB_MULTIVERSION
void mean_field_update(const MeanFieldStep& step, int64_t begin, int64_t end, FreeEnergy* energy) {
  float logits[kTile * kMaxStride];
  for (int64_t first = begin; first < end; first += kTile) {
    const Tile tile{step, first, std::min(kTile, end - first), logits};
    start_logits(tile);
    for (size_t i = 0; i < step.term_count; ++i) {
      const FilteredTerm& term = step.terms[i];
      switch (term.kind) {
        case CompatibilityKind::kPotts: add_sliced(tile, term, [&](auto, int64_t) { return term.weight; }); break;
        case CompatibilityKind::kClasses:
          add_sliced(tile, term, [&](auto slab, int64_t offset) { return slab.load(term.table + offset); });
          break;
        case CompatibilityKind::kMatrix: add_matrix(tile, term); break;
      }
    }
    if (energy != nullptr && step.marginals != nullptr) add_pairwise_energy(tile, energy);
    if (step.updated != nullptr) update_marginals(tile, energy);
  }
}

}  // namespace deeplab

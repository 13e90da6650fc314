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

struct Softmax {
  float max = 0;  // of the logits
  float sum = 0;  // of exp(logit - max)
};

DEEPLAB_INLINE Softmax write_softmax(const float* logits, int64_t stride, float* out) {
  Softmax softmax{logits[0], 0};
  for (int64_t c = 0; c < stride; c += 8) softmax.max = kLarger(softmax.max, Slab<8>::load(logits + c).reduce(kLarger));
  for (int64_t c = 0; c < stride; c += 8) {
    auto part = Slab<8>::load(logits + c);
    part.apply([&](auto& vector) DEEPLAB_INLINE_LAMBDA { vector = exp_nonpositive(vector - softmax.max); });
    softmax.sum += part.reduce(kSum);
    part.store(out + c);
  }
  for (int64_t c = 0; c < stride; ++c) out[c] *= 1.0f / softmax.sum;
  return softmax;
}

// The same for a row that is one slab, in registers.
template <typename Row>
DEEPLAB_INLINE Softmax write_softmax(const float* logits, float* out) {
  Row row = Row::load(logits);
  const float max = row.reduce(kLarger);
  row.apply([max](auto& vector) DEEPLAB_INLINE_LAMBDA { vector = exp_nonpositive(vector - max); });
  const float sum = row.reduce(kSum);
  const float scale = 1.0f / sum;
  row.apply([scale](auto& vector) DEEPLAB_INLINE_LAMBDA { vector = vector * scale; });
  row.store(out);
  return {max, sum};
}

// log Q is the logit minus max + log sum, so that no logarithm of a class is needed.
void add_energy(const MeanFieldStep& step, int64_t point, const float* logits, const Softmax& softmax,
                const float* updated, FreeEnergy* energy) {
  const float* unary = step.unary + point * step.stride;
  const double log_sum = softmax.max + std::log(static_cast<double>(softmax.sum));
  double sum = 0;
  for (int64_t c = 0; c < step.classes; ++c) {
    sum += static_cast<double>(updated[c]) * (static_cast<double>(unary[c]) + static_cast<double>(logits[c]) - log_sum);
  }
  energy->unary_and_entropy += sum;
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

DEEPLAB_INLINE void update_marginals(const Tile& tile, FreeEnergy* energy) {
  const auto update = [&](const auto& write) DEEPLAB_INLINE_LAMBDA {
    for (int64_t i = 0; i < tile.count; ++i) {
      const float* logits = tile.logits + i * tile.step.stride;
      float* updated = tile.step.updated + (tile.first + i) * tile.step.stride;
      const Softmax softmax = write(logits, updated);
      if (energy != nullptr) add_energy(tile.step, tile.first + i, logits, softmax, updated, energy);
    }
  };
  const int64_t stride = tile.step.stride;
  if (stride > 32) return update([stride](const float* l, float* q) { return write_softmax(l, stride, q); });
  for_each_slab(stride, [&](auto slab, int64_t, int64_t) DEEPLAB_INLINE_LAMBDA {
    using Row = decltype(slab);
    update([](const float* l, float* q) DEEPLAB_INLINE_LAMBDA { return write_softmax<Row>(l, q); });
  });
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
        case FilteredTerm::Compatibility::kPotts:
          add_sliced(tile, term, [&](auto, int64_t) { return term.weight; });
          break;
        case FilteredTerm::Compatibility::kClasses:
          add_sliced(tile, term, [&](auto slab, int64_t offset) { return slab.load(term.table + offset); });
          break;
        case FilteredTerm::Compatibility::kMatrix: add_matrix(tile, term); break;
      }
    }
    if (energy != nullptr && step.marginals != nullptr) add_pairwise_energy(tile, energy);
    if (step.updated != nullptr) update_marginals(tile, energy);
  }
}

}  // namespace deeplab

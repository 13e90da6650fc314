// The kernels of a mean-field iteration once the terms are filtered (mean_field.cc): slice, compatibility and softmax.
// A point's row is the work of neighbouring threads, four classes each.
#pragma once

#include <cmath>

#include "backend/cuda/lattice_filter.h"
#include "crf/mean_field.h"

namespace deeplab::cuda {

// A term of Potts or per-class compatibility, filtered.
struct SlicedTerm {
  const uint32_t* corners;
  const float* weights;
  const Floats4* values;
  const Floats4* factors;  // [lanes], of each class; null: `factor` for all
  float factor;
  int corner_count;
};

// Which point and lane a thread of a block of kBlockThreads works on: as many whole points as fit.
struct PointLanes {
  uint32_t points;
  uint32_t lanes;

  DEEPLAB_INLINE uint32_t points_of_block() const { return kBlockThreads / lanes; }
  int64_t blocks() const { return (points + points_of_block() - 1) / points_of_block(); }
  DEEPLAB_INLINE uint32_t point(int64_t block, uint32_t thread) const {
    return static_cast<uint32_t>(block) * points_of_block() + thread / lanes;
  }
  DEEPLAB_INLINE uint32_t lane(uint32_t thread) const { return thread % lanes; }
  DEEPLAB_INLINE bool works(int64_t block, uint32_t thread) const {
    return thread < points_of_block() * lanes && point(block, thread) < points;
  }
};

// energies[point] + message of a term whose compatibility is a matrix. Its classes meet in shared memory.
struct AddMatrixMessage {
  static constexpr int kThreads = kBlockThreads, kPhases = 2;
  struct State {};
  struct Shared {
    Floats4 filtered[kThreads];
  };

  PointLanes at;
  LatticeView lattice;
  const Floats4* values;
  const Floats4* matrix;  // [classes, lanes], symmetric
  uint32_t classes;
  const Floats4* energies;  // [points, lanes]
  Floats4* sums;            // may be `energies`

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    if (!at.works(block, thread)) return;
    const uint32_t point = at.point(block, thread);
    const uint32_t lane = at.lane(thread);
    if constexpr (kPhase == 0) {
      shared.filtered[thread] =
          slice(lattice.corners, lattice.weights, lattice.corner_count, values, at.lanes, point, lane);
    } else {
      const auto* filtered = reinterpret_cast<const float*>(shared.filtered + (thread - lane));
      Floats4 sum = energies[point * at.lanes + lane];
      for (uint32_t c = 0; c < classes; ++c) sum = sum + matrix[c * at.lanes + lane] * filtered[c];
      sums[point * at.lanes + lane] = sum;
    }
  }
};

// What the KL divergence is made of, in nats.
struct FreeEnergy {
  double unary_and_entropy;  // of the new Q: sum of Q (U + log Q)
  double pairwise;           // of the old Q: half the sum of Q times its messages
};

DEEPLAB_INLINE FreeEnergy operator+(const FreeEnergy& a, const FreeEnergy& b) {
  return {a.unary_and_entropy + b.unary_and_entropy, a.pairwise + b.pairwise};
}

// Q = softmax(-energies - messages); with kMeasures, each block's free energy besides.
template <bool kMeasures>
struct UpdateMarginals {
  static constexpr int kThreads = kBlockThreads, kPhases = kMeasures ? 5 : 3;
  static constexpr int kParts = 16;  // of a block's free energies, summed one by one
  struct State {
    Floats4 logits;
    Floats4 powers;
  };
  struct Shared {
    float maxima[kThreads];
    float sums[kThreads];
    FreeEnergy energies[kMeasures ? kThreads : 1];
  };

  PointLanes at;
  uint32_t classes;
  const Floats4* energies;  // [points, lanes], unary and the messages of matrices
  const SlicedTerm* terms;
  int term_count;
  Floats4* updated;  // [points, lanes]; null: only measure
  // For kMeasures.
  const Floats4* unary;      // [points, lanes]
  const Floats4* marginals;  // Q that was filtered; null: none was
  FreeEnergy* measured;      // [blocks]

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State& state, Shared& shared) const {
    if constexpr (kPhase == 0) {
      if (at.works(block, thread)) start(at.point(block, thread), thread, state, shared);
    } else if constexpr (kPhase == 1) {
      if (at.works(block, thread)) raise(thread, state, shared);
    } else if constexpr (kPhase == 2) {
      FreeEnergy energy{};
      if (at.works(block, thread)) finish(at.point(block, thread), thread, state, shared, &energy);
      if constexpr (kMeasures) shared.energies[thread] = energy;
    } else if constexpr (kPhase == 3) {
      if (thread % kParts != 0) return;
      for (int i = 1; i < kParts; ++i) {
        shared.energies[thread] = shared.energies[thread] + shared.energies[thread + i];
      }
    } else {
      if (thread != 0) return;
      FreeEnergy sum{};
      for (int i = 0; i < kThreads; i += kParts) sum = sum + shared.energies[i];
      measured[block] = sum;
    }
  }

 private:
  // Logits, and their maximum.
  DEEPLAB_INLINE void start(uint32_t point, int thread, State& state, Shared& shared) const {
    const uint32_t lane = at.lane(thread);
    Floats4 logits = -energies[point * at.lanes + lane];
    for (int i = 0; i < term_count; ++i) {
      const SlicedTerm& term = terms[i];
      const Floats4 sliced = slice(term.corners, term.weights, term.corner_count, term.values, at.lanes, point, lane);
      logits = logits + (term.factors != nullptr ? sliced * term.factors[lane] : sliced * term.factor);
    }
    state.logits = logits;
    const float low = logits.x > logits.y ? logits.x : logits.y, high = logits.z > logits.w ? logits.z : logits.w;
    shared.maxima[thread] = low > high ? low : high;
  }

  // Powers of what the logits are less than the row's maximum, and their sum.
  DEEPLAB_INLINE void raise(int thread, State& state, Shared& shared) const {
    const uint32_t first = thread - at.lane(thread);
    float max = shared.maxima[first];
    for (uint32_t i = 1; i < at.lanes; ++i) max = shared.maxima[first + i] > max ? shared.maxima[first + i] : max;
    const Floats4 shifted = state.logits + Floats4{-max, -max, -max, -max};
    state.powers = {exp_nonpositive(shifted.x), exp_nonpositive(shifted.y), exp_nonpositive(shifted.z),
                    exp_nonpositive(shifted.w)};
    shared.sums[thread] = (state.powers.x + state.powers.y) + (state.powers.z + state.powers.w);
    if constexpr (kMeasures) shared.maxima[thread] = max;
  }

  DEEPLAB_INLINE void finish(uint32_t point, int thread, State& state, Shared& shared, FreeEnergy* energy) const {
    const uint32_t lane = at.lane(thread), first = thread - lane;
    const int64_t index = point * at.lanes + lane;
    float sum = 0;
    for (uint32_t i = 0; i < at.lanes; ++i) sum += shared.sums[first + i];
    const Floats4 q = state.powers * (1.0f / sum);
    // Before the old Q is overwritten, if it is.
    if constexpr (kMeasures) measure(index, lane, q, state.logits, shared.maxima[thread], sum, energy);
    if (updated != nullptr) updated[index] = q;
  }

  // log Q is the logit less the largest one and the logarithm of `sum`. The messages are what the logits have besides
  // -U.
  DEEPLAB_INLINE void measure(uint32_t index, uint32_t lane, const Floats4& q, const Floats4& logits, float max,
                              float sum, FreeEnergy* energy) const {
    const double log_sum = std::log(static_cast<double>(sum));
    const float* news = &q.x;
    const float* logit = &logits.x;
    const auto* given = reinterpret_cast<const float*>(unary + index);
    const auto* old = reinterpret_cast<const float*>(marginals + index);
    for (uint32_t i = 0; i < 4 && 4 * lane + i < classes; ++i) {
      const double u = given[i];
      if (updated != nullptr) {
        energy->unary_and_entropy += static_cast<double>(news[i]) * (u + static_cast<double>(logit[i] - max) - log_sum);
      }
      if (marginals != nullptr) energy->pairwise -= old[i] * (static_cast<double>(logit[i]) + u) / 2;
    }
  }
};

// The sum of `count` free energies, always in the same order.
struct SumFreeEnergies {
  static constexpr int kThreads = kBlockThreads, kPhases = 2;
  struct State {};
  struct Shared {
    FreeEnergy sums[kThreads];
  };

  const FreeEnergy* energies;
  int64_t count;
  FreeEnergy* sum;

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t, int thread, State&, Shared& shared) const {
    if constexpr (kPhase == 0) {
      FreeEnergy own{};
      for (int64_t i = thread; i < count; i += kThreads) own = own + energies[i];
      shared.sums[thread] = own;
    } else if (thread == 0) {
      FreeEnergy total{};
      for (const FreeEnergy& part : shared.sums) total = total + part;
      *sum = total;
    }
  }
};

// A point's label, the first of the classes with the largest marginal; and its marginals, by class.
struct WriteResults {
  static constexpr int kThreads = kBlockThreads, kPhases = 2;
  struct State {};
  struct Shared {
    Floats4 q[kThreads];
  };

  PointLanes at;
  uint32_t classes;
  const Floats4* from;  // [points, lanes]
  uint8_t* labels;      // [points]
  float* marginals;     // [classes, points]; null if not wanted

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    if constexpr (kPhase == 0) {
      if (!at.works(block, thread)) return;
      shared.q[thread] = from[at.point(block, thread) * at.lanes + at.lane(thread)];
    } else {
      // Neighbouring threads have neighbouring points, as the results do. Threads beyond the last whole round of points
      // have none.
      const auto* rows = reinterpret_cast<const float*>(shared.q);
      const uint32_t points_here = at.points_of_block(), rounds = kThreads / points_here;
      const uint32_t round = thread / points_here, point = thread % points_here;
      const int64_t index = block * points_here + point;
      if (round >= rounds || index >= at.points) return;
      const float* row = rows + point * 4 * at.lanes;
      if (round == 0) {
        uint32_t best = 0;
        for (uint32_t c = 1; c < classes; ++c) best = row[c] > row[best] ? c : best;
        labels[index] = static_cast<uint8_t>(best);
      }
      if (marginals == nullptr) return;
      for (uint32_t c = round; c < classes; c += rounds) marginals[int64_t{c} * at.points + index] = row[c];
    }
  }
};

}  // namespace deeplab::cuda

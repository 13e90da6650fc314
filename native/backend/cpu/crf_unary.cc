#include "backend/cpu/crf_unary.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/vector.h"
#include "crf/unary.h"

namespace deeplab {
namespace {

// From any thread: the result is the same in whatever order they come.
void keep_least(std::atomic<int64_t>& least, int64_t value) {
  for (int64_t known = least; value < known && !least.compare_exchange_weak(known, value);) continue;
}

// Sixteen points of [classes,points], from `first` on, into rows of what `convert` makes of them.
template <typename Convert>
DEEPLAB_INLINE void write_rows(const CrfUnary& unary, int64_t points, int64_t first, int64_t count, float* rows,
                               const Convert& convert) {
  const int64_t stride = row_stride(unary.classes);
  float* const out = rows + first * stride;
  for (int64_t c = 0; c < unary.classes; ++c) {
    float lanes[kLanes] = {};
    const float* values = unary.values.data() + c * points + first;
    if (count == kLanes) {
      store(lanes, convert(load(values)));
    } else {
      std::copy_n(values, count, lanes);
      store(lanes, convert(load(lanes)));
    }
    for (int64_t i = 0; i < count; ++i) out[i * stride + c] = lanes[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    std::fill(out + i * stride + unary.classes, out + (i + 1) * stride, kPaddingEnergy);
  }
}

// Both return the first bad point among [first, first + count), or first + count. A comparison with NaN is false.
DEEPLAB_MULTIVERSION
int64_t write_energies(const CrfUnary& unary, int64_t points, int64_t first, int64_t count, float* rows) {
  auto good = Floats{} == Floats{};
  write_rows(unary, points, first, count, rows, [&](Floats energy) DEEPLAB_INLINE_LAMBDA {
    good &= (energy <= kMaxEnergy) & (energy >= -kMaxEnergy);
    return energy;
  });
  for (int64_t i = 0; i < count; ++i) {
    if (!good[i]) return first + i;
  }
  return first + count;
}

DEEPLAB_MULTIVERSION
int64_t write_probabilities(const CrfUnary& unary, int64_t points, int64_t first, int64_t count, float* rows) {
  float sums[kLanes] = {};
  float lowest[kLanes] = {};
  Floats sum = load(sums), low = load(lowest);
  write_rows(unary, points, first, count, rows, [&](Floats p) DEEPLAB_INLINE_LAMBDA {
    sum = sum + p;
    low = p < low ? p : low;
    return energy_of_probability(p);
  });
  store(sums, sum);
  store(lowest, low);
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::abs(sums[i] - 1.0f) <= kProbabilitySumTolerance) || lowest[i] < 0) return first + i;
  }
  return first + count;
}

Status write_label_energies(const CrfUnary& unary, int64_t width, int64_t points, float* rows,
                            const std::atomic<bool>& cancelled) {
  // A row for each label, so that a point's is a copy. Krähenbühl's own example of annotations does the same.
  const int64_t stride = row_stride(unary.classes);
  constexpr int kLabels = 256;
  std::vector<float> table(kLabels * stride, kPaddingEnergy);
  const LabelEnergies energies = label_energies(unary);
  for (int label = 0; label < kLabels; ++label) {
    float* row = table.data() + label * stride;
    std::fill_n(row, unary.classes, label == unary.unknown ? energies.uniform : energies.wrong);
    if (label != unary.unknown && label < unary.classes) row[label] = energies.right;
  }
  std::atomic<int64_t> bad{points};
  constexpr int64_t kBlock = 4096;
  parallel_for((points + kBlock - 1) / kBlock, [&](int64_t block) {
    if (cancelled.load(std::memory_order_relaxed)) return;
    for (int64_t i = block * kBlock; i < std::min((block + 1) * kBlock, points); ++i) {
      const int label = unary.labels[i];
      std::copy_n(table.data() + label * stride, stride, rows + i * stride);
      if (label >= unary.classes && label != unary.unknown) keep_least(bad, i);
    }
  });
  if (cancelled) return error(Code::kAborted, "the inference was aborted");
  return bad == points ? Status() : bad_unary(unary, width, points, bad);
}

}  // namespace

Status write_unary(const CrfUnary& unary, int64_t width, int64_t points, float* rows,
                   const std::atomic<bool>& cancelled) {
  if (unary.kind == CrfUnary::Kind::kLabels) return write_label_energies(unary, width, points, rows, cancelled);
  const auto write = unary.kind == CrfUnary::Kind::kProbabilities ? write_probabilities : write_energies;
  std::atomic<int64_t> bad{points};
  parallel_for((points + kLanes - 1) / kLanes, [&](int64_t block) {
    if (cancelled.load(std::memory_order_relaxed)) return;
    const int64_t first = block * kLanes, count = std::min(kLanes, points - first);
    const int64_t found = write(unary, points, first, count, rows);
    if (found != first + count) keep_least(bad, found);
  });
  if (cancelled) return error(Code::kAborted, "the inference was aborted");
  return bad == points ? Status() : bad_unary(unary, width, points, bad);
}

void write_unary_of_logits(const float* logits, int64_t classes, float* row) {
  const float log_sum = log_sum_exp(classes, [&](int64_t c) { return logits[c]; });
  for (int64_t c = 0; c < classes; ++c) row[c] = energy_of_logit(logits[c], log_sum);
  std::fill(row + classes, row + row_stride(classes), kPaddingEnergy);
}

}  // namespace deeplab

#include "backend/cpu/crf_unary.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/mean_field.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/vector.h"
#include "crf/mean_field.h"

namespace deeplab {
namespace {

constexpr float kSumTolerance = 1e-3f;

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
    const Floats floor = Floats{} + kCrfProbabilityFloor;
    const Floats raised = p < floor ? floor : p;
    return -log_positive(raised);
  });
  store(sums, sum);
  store(lowest, low);
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::abs(sums[i] - 1.0f) <= kSumTolerance) || lowest[i] < 0) return first + i;
  }
  return first + count;
}

Status bad_values(const CrfUnary& unary, int64_t width, int64_t points, int64_t point) {
  const bool probabilities = unary.kind == CrfUnary::Kind::kProbabilities;
  double sum = 0;
  float odd = 0;
  for (int64_t c = 0; c < unary.classes; ++c) {
    const float value = unary.values[c * points + point];
    sum += value;
    if (!std::isfinite(value) || (probabilities ? value < 0 : std::abs(value) > kMaxEnergy)) odd = value;
  }
  const int64_t x = point % width, y = point / width;
  if (!probabilities) {
    return error(Code::kInvalidArgument, "Expected energies from -1e9 to 1e9 for unary but pixel (", x, ", ", y,
                 ") has ", odd);
  }
  if (odd != 0 || std::isnan(odd)) {
    return error(Code::kInvalidArgument, "Expected numbers from 0 to 1 for probabilities but pixel (", x, ", ", y,
                 ") has ", odd);
  }
  return error(Code::kInvalidArgument, "Expected probabilities that sum to 1 but those of pixel (", x, ", ", y,
               ") sum to ", sum);
}

Status write_label_energies(const CrfUnary& unary, int64_t width, int64_t points, float* rows) {
  // A row for each label, so that a point's is a copy. Krähenbühl's own example of annotations does the same.
  const int64_t stride = row_stride(unary.classes);
  constexpr int kLabels = 256;
  std::vector<float> table(kLabels * stride, kPaddingEnergy);
  const auto right = static_cast<float>(-std::log(unary.gt_prob));
  const auto wrong = static_cast<float>(-std::log((1.0 - unary.gt_prob) / (unary.classes - 1)));
  const auto uniform = static_cast<float>(-std::log(1.0 / unary.classes));
  for (int label = 0; label < kLabels; ++label) {
    float* row = table.data() + label * stride;
    std::fill_n(row, unary.classes, label == unary.unknown ? uniform : wrong);
    if (label != unary.unknown && label < unary.classes) row[label] = right;
  }
  std::atomic<int64_t> bad{points};
  constexpr int64_t kBlock = 4096;
  parallel_for((points + kBlock - 1) / kBlock, [&](int64_t block) {
    for (int64_t i = block * kBlock; i < std::min((block + 1) * kBlock, points); ++i) {
      const int label = unary.labels[i];
      std::copy_n(table.data() + label * stride, stride, rows + i * stride);
      if (label >= unary.classes && label != unary.unknown) keep_least(bad, i);
    }
  });
  if (bad == points) return Status();
  return error(Code::kInvalidArgument, "Expected labels below ", unary.classes, " but pixel (", bad % width, ", ",
               bad / width, ") has ", static_cast<int>(unary.labels[bad]));
}

}  // namespace

Status write_unary(const CrfUnary& unary, int64_t width, int64_t points, float* rows) {
  if (unary.kind == CrfUnary::Kind::kLabels) return write_label_energies(unary, width, points, rows);
  const auto write = unary.kind == CrfUnary::Kind::kProbabilities ? write_probabilities : write_energies;
  std::atomic<int64_t> bad{points};
  parallel_for((points + kLanes - 1) / kLanes, [&](int64_t block) {
    const int64_t first = block * kLanes, count = std::min(kLanes, points - first);
    const int64_t found = write(unary, points, first, count, rows);
    if (found != first + count) keep_least(bad, found);
  });
  return bad == points ? Status() : bad_values(unary, width, points, bad);
}

void write_unary_of_logits(const float* logits, int64_t classes, float* row) {
  const float max = *std::max_element(logits, logits + classes);
  float sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += exp_nonpositive(logits[c] - max);
  const float log_sum = max + log_positive(sum);
  const float highest = -log_positive(kCrfProbabilityFloor);
  for (int64_t c = 0; c < classes; ++c) row[c] = std::min(log_sum - logits[c], highest);
  std::fill(row + classes, row + row_stride(classes), kPaddingEnergy);
}

}  // namespace deeplab

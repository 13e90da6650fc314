#include "backend/cuda/crf_unary.h"

#include <cmath>

#include "backend/cuda/dense_crf.h"
#include "crf/unary.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "the CRF's unary potentials";

// The least of all points that are handed in, in whatever order they come.
DEEPLAB_INLINE void keep_least(uint32_t* least, uint32_t point) {
#ifdef __CUDA_ARCH__
  atomicMin(least, point);
#else
  *least = point < *least ? point : *least;
#endif
}

struct WriteValues {
  bool probabilities;
  int classes;
  int64_t stride;
  int64_t points;
  const float* values;  // [classes, points]
  float* rows;          // [points, stride]
  uint32_t* bad;        // the first point whose values are none

  DEEPLAB_INLINE void operator()(int64_t point) const {
    float* row = rows + point * stride;
    float sum = 0;
    bool good = true;  // a comparison with NaN is false
    for (int c = 0; c < classes; ++c) {
      const float value = values[c * points + point];
      sum += value;
      good = good && (probabilities ? value >= 0 : value <= kMaxEnergy && value >= -kMaxEnergy);
      row[c] = probabilities ? energy_of_probability(value) : value;
    }
    for (int64_t c = classes; c < stride; ++c) row[c] = kPaddingEnergy;
    if (probabilities) good = good && std::abs(sum - 1.0f) <= kProbabilitySumTolerance;
    if (!good) keep_least(bad, static_cast<uint32_t>(point));
  }
};

struct WriteLabels {
  LabelEnergies energies;
  int unknown;
  int classes;
  int64_t stride;
  const uint8_t* labels;  // [points]
  float* rows;            // [points, stride]
  uint32_t* bad;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t point = i / stride, c = i % stride;
    const int label = labels[point];
    const float energy = label == unknown ? energies.uniform : (c == label ? energies.right : energies.wrong);
    rows[i] = c < classes ? energy : kPaddingEnergy;
    if (c == 0 && label >= classes && label != unknown) keep_least(bad, static_cast<uint32_t>(point));
  }
};

}  // namespace

Status write_unary(Stream stream, const CrfUnary& unary, int64_t width, int64_t points, float* rows) {
  const bool labels = unary.kind == CrfUnary::Kind::kLabels;
  const int64_t stride = row_stride(unary.classes);
  const size_t bytes = labels ? unary.labels.bytes() : unary.values.bytes();
  DeviceBuffer given, bad;
  DEEPLAB_RETURN_IF_ERROR(given.allocate(bytes, kPurpose));
  DEEPLAB_RETURN_IF_ERROR(bad.allocate(sizeof(uint32_t), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(fill(stream, bad.data(), 0xff, bad.size()));
  auto* first_bad = bad.as<uint32_t>();
  if (labels) {
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, given.data(), unary.labels.data(), bytes));
    DEEPLAB_RETURN_IF_ERROR(launch(stream, points * stride,
                                   WriteLabels{label_energies(unary), unary.unknown, unary.classes, stride,
                                               given.as<uint8_t>(), rows, first_bad}));
  } else {
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, given.data(), unary.values.data(), bytes));
    DEEPLAB_RETURN_IF_ERROR(launch(stream, points,
                                   WriteValues{unary.kind == CrfUnary::Kind::kProbabilities, unary.classes, stride,
                                               points, given.as<float>(), rows, first_bad}));
  }
  uint32_t point = 0;
  DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream, &point, first_bad, sizeof point));
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream));
  return point == UINT32_MAX ? Status() : bad_unary(unary, width, points, point);
}

}  // namespace deeplab::cuda

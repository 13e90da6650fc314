#include "crf/lattice_layout.h"

#include <algorithm>
#include <cmath>

#include "crf/lattice.h"

namespace deeplab {
namespace {

// Elevated coordinates times d + 2, the number of roundings in one, may be this large. Beyond, their sum could be so
// far from zero that a point would be in no simplex: 2^22 * 2^-24 is a quarter of a step.
constexpr float kMaxElevation = 1 << 22;

}  // namespace

Status feature_ranges(const LatticePoints& points, float* low, float* high) {
  const CrfTerm& term = points.term;
  if (term.kernel != CrfKernel::kFeatures) {
    const int x_feature = points.coordinates == CrfCoordinates::kXY ? 0 : 1;
    const float ends[] = {static_cast<float>(points.width - 1), static_cast<float>(points.height - 1), 255, 255, 255};
    for (int j = 0; j < term.dimensions; ++j) {
      const int deviation = j >= 2 ? j : (j == x_feature ? 0 : 1);
      low[j] = 0;
      high[j] = ends[deviation] / term.deviations[deviation];
    }
    return Status();
  }
  for (int j = 0; j < term.dimensions; ++j) {
    const float* feature = term.features.data() + j * points.count();
    float least = feature[0], most = feature[0];
    bool good = true;
    for (int64_t i = 0; i < points.count(); ++i) {
      good = good && std::isfinite(feature[i]);
      least = std::min(least, feature[i]);
      most = std::max(most, feature[i]);
    }
    if (!good) return error(Code::kInvalidArgument, "Expected finite numbers in feature ", j, " of a CRF's kernel");
    low[j] = least;
    high[j] = most;
  }
  return Status();
}

Result<CodeLayout> lattice_layout(const LatticePoints& points) {
  const int d = points.term.dimensions;
  if (points.count() >= int64_t{UINT32_MAX} / (d + 1)) {
    return error(Code::kOutOfMemory, "a CRF's lattice of ", points.width, "x", points.height, " pixels and ", d,
                 " features has more corners than 32 bits can number");
  }
  float low[kMaxCrfDimensions], high[kMaxCrfDimensions];
  DEEPLAB_RETURN_IF_ERROR(feature_ranges(points, low, high));
  float scales[kMaxCrfDimensions];
  lattice_scales(d, scales);
  // The range of the elevated coordinates.
  float least[kMaxCrfDimensions + 1] = {}, most[kMaxCrfDimensions + 1] = {};
  for (int j = 0; j <= d; ++j) {
    for (int k = j; k < d; ++k) {
      least[j] += low[k] * scales[k];
      most[j] += high[k] * scales[k];
    }
    if (j > 0) {
      least[j] -= high[j - 1] * scales[j - 1] * static_cast<float>(j);
      most[j] -= low[j - 1] * scales[j - 1] * static_cast<float>(j);
    }
    if (!(std::max(std::abs(least[j]), std::abs(most[j])) * static_cast<float>(d + 2) < kMaxElevation)) {
      return error(Code::kInvalidArgument, "Expected features of a CRF's kernel within about 100000 standard ",
                   "deviations of zero, all together, but they reach from ", *std::min_element(low, low + d), " to ",
                   *std::max_element(high, high + d));
    }
  }
  return CodeLayout::fit(d, least, most);
}

}  // namespace deeplab

#include "backend/cpu/lattice_points.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "crf/lattice.h"

namespace deeplab {
namespace {

using Features = float[kMaxCrfDimensions][kLanes];

// Position first, in the order of the coordinates, then colour.
void read_features(const LatticePoints& points, int64_t first, int64_t count, Features& features) {
  const CrfTerm& term = points.term;
  if (term.kernel == CrfKernel::kFeatures) {
    for (int j = 0; j < term.dimensions; ++j) {
      std::copy_n(term.features.data() + j * points.count() + first, count, features[j]);
    }
    return;
  }
  const int x_feature = points.coordinates == CrfCoordinates::kXY ? 0 : 1;
  int64_t x = first % points.width, y = first / points.width;
  for (int64_t i = 0; i < count; ++i) {
    features[x_feature][i] = static_cast<float>(x) / term.deviations[0];
    features[1 - x_feature][i] = static_cast<float>(y) / term.deviations[1];
    if (++x == points.width) {
      x = 0;
      ++y;
    }
  }
  if (term.kernel == CrfKernel::kGaussian) return;
  const uint8_t* pixel = points.pixels + first * points.channels;
  for (int64_t i = 0; i < count; ++i, pixel += points.channels) {
    for (int c = 0; c < 3; ++c) {
      features[2 + c][i] = static_cast<float>(pixel[points.channels == 1 ? 0 : c]) / term.deviations[2 + c];
    }
  }
}

DEEPLAB_MULTIVERSION
void locate(int d, const float* scales, const Features& features, LocatedPoints* located) {
  Floats feature[kMaxCrfDimensions], elevated[kMaxCrfDimensions + 1];
  Floats origin[kMaxCrfDimensions + 1], rank[kMaxCrfDimensions + 1], weight[kMaxCrfDimensions + 1];
  for (int j = 0; j < d; ++j) feature[j] = load(features[j]);
  lattice_elevate(d, scales, feature, elevated);
  lattice_simplex(d, elevated, origin, rank);
  lattice_weights(d, elevated, origin, rank, weight);
  for (int j = 0; j <= d; ++j) {
    store(located->origin[j], origin[j]);
    store(located->rank[j], rank[j]);
    store(located->weight[j], weight[j]);
  }
}

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
  std::array<char, kMaxCrfDimensions> finite{};
  parallel_for(term.dimensions, [&](int64_t j) {
    const float* feature = term.features.data() + j * points.count();
    float least = feature[0], most = feature[0];
    bool good = true;
    for (int64_t i = 0; i < points.count(); ++i) {
      good = good && std::isfinite(feature[i]);
      least = std::min(least, feature[i]);
      most = std::max(most, feature[i]);
    }
    low[j] = least;
    high[j] = most;
    finite[j] = good;
  });
  for (int j = 0; j < term.dimensions; ++j) {
    if (!finite[j])
      return error(Code::kInvalidArgument, "Expected finite numbers in feature ", j, " of a CRF's kernel");
  }
  return Status();
}

void locate_points(const LatticePoints& points, const float* scales, int64_t first, int64_t count,
                   LocatedPoints* located) {
  Features features = {};
  read_features(points, first, count, features);
  locate(points.term.dimensions, scales, features, located);
}

}  // namespace deeplab

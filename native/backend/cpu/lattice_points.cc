#include "backend/cpu/lattice_points.h"

#include <algorithm>

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

void locate_points(const LatticePoints& points, const float* scales, int64_t first, int64_t count,
                   LocatedPoints* located) {
  Features features = {};
  read_features(points, first, count, features);
  locate(points.term.dimensions, scales, features, located);
}

}  // namespace deeplab

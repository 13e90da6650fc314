// The geometry of the permutohedral lattice: which simplex a feature vector lies in, and how it weighs the corners.
// Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010; sections and pages
// are that paper's.
#pragma once

#include <cmath>

#include "crf/real.h"

namespace deeplab {

// For each of `d` features, the factor that makes the lattice's blur one of standard deviation 1 (section 3.1: the
// diagonal part of E, times the expected deviation of splat, blur and slice together).
inline void lattice_scales(int d, float* scales) {
  const float deviation = static_cast<float>(std::sqrt(2.0 / 3.0) * (d + 1));
  for (int i = 0; i < d; ++i) {
    scales[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>((i + 1) * (i + 2))) * deviation);
  }
}

// feature[d] -> elevated[d + 1]: the point in the hyperplane of coordinates that sum to zero (page 5: y = E p).
template <typename Real>
DEEPLAB_INLINE void lattice_elevate(int d, const float* scales, const Real* feature, Real* elevated) {
  Real sum{};
  for (int j = d; j > 0; --j) {
    const Real scaled = feature[j - 1] * scales[j - 1];
    elevated[j] = sum - scaled * static_cast<float>(j);
    sum = sum + scaled;
  }
  elevated[0] = sum;
}

// The enclosing simplex: `origin`[d + 1], its corner with remainder 0, and `rank`[d + 1], the descending order of what
// is left of the coordinates, a permutation of 0..d (page 6).
template <typename Real>
DEEPLAB_INLINE void lattice_simplex(int d, const Real* elevated, Real* origin, Real* rank) {
  const Real zero{};
  const Real one = zero + 1.0f;
  const Real step = zero + static_cast<float>(d + 1);
  const float inverse = 1.0f / static_cast<float>(d + 1);
  Real sum{};
  for (int i = 0; i <= d; ++i) {
    const Real nearest = round_to_even(elevated[i] * inverse);
    origin[i] = nearest * step;
    sum = sum + nearest;
    rank[i] = zero;
  }
  for (int i = 0; i < d; ++i) {
    const Real rest = elevated[i] - origin[i];
    for (int j = i + 1; j <= d; ++j) {
      const Real smaller = rest < elevated[j] - origin[j] ? one : zero;
      rank[i] = rank[i] + smaller;
      rank[j] = rank[j] + (one - smaller);
    }
  }
  // Rounding may have left the hyperplane: the coordinates with the largest or smallest rest go one step back.
  for (int i = 0; i <= d; ++i) {
    rank[i] = rank[i] + sum;
    const Real back = (rank[i] < zero ? step : zero) - (rank[i] >= step ? step : zero);
    rank[i] = rank[i] + back;
    origin[i] = origin[i] + back;
  }
}

// Barycentric weights of the simplex' corners, by remainder: weight[d + 1] (page 10).
template <typename Real>
DEEPLAB_INLINE void lattice_weights(int d, const Real* elevated, const Real* origin, const Real* rank, Real* weight) {
  const Real zero{};
  const float inverse = 1.0f / static_cast<float>(d + 1);
  Real first{}, previous{};
  for (int remainder = 0; remainder <= d; ++remainder) {
    const Real wanted = zero + static_cast<float>(d - remainder);
    Real rest{};
    for (int i = 0; i <= d; ++i) rest = rank[i] == wanted ? (elevated[i] - origin[i]) * inverse : rest;
    if (remainder == 0) first = rest;
    weight[remainder] = rest - previous;
    previous = rest;
  }
  weight[0] = first + (zero + 1.0f - previous);
}

// A vertex after the blur along one axis; a neighbour that does not exist is zero.
template <typename Real>
DEEPLAB_INLINE Real lattice_blur(Real previous, Real vertex, Real next) {
  return vertex + (previous + next) * 0.5f;
}

// What slicing multiplies by: the blur's gain for `d` features, undone.
inline float lattice_gain(int d) { return 1.0f / (1.0f + std::pow(2.0f, -static_cast<float>(d))); }

}  // namespace deeplab

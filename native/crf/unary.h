// Unary potentials, energies in nats, from what users and networks have instead: which values are accepted, and what
// becomes of them.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "crf/mean_field.h"
#include "crf/parameters.h"

namespace deeplab {

constexpr float kMaxEnergy = 1e9f;  // in either direction
constexpr float kProbabilitySumTolerance = 1e-3f;

// The energy of what pads a row of classes: larger than any that is accepted, so that its probability is zero.
constexpr float kPaddingEnergy = 1e30f;

template <typename Real>
DEEPLAB_INLINE Real energy_of_probability(Real p) {
  const Real floor = Real{} + kCrfProbabilityFloor;
  const Real raised = p < floor ? floor : p;
  return -log_positive(raised);
}

// A point's log sum of exp(logit_at(c)) over its classes c, for energy_of_logit.
template <typename LogitAt>
DEEPLAB_INLINE float log_sum_exp(int64_t classes, const LogitAt& logit_at) {
  float max = logit_at(0);
  for (int64_t c = 1; c < classes; ++c) max = max < logit_at(c) ? logit_at(c) : max;
  float sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += exp_nonpositive(logit_at(c) - max);
  return max + log_positive(sum);
}

// -log softmax, of a probability that is raised to kCrfProbabilityFloor.
DEEPLAB_INLINE float energy_of_logit(float logit, float log_sum) {
  const float energy = log_sum - logit, highest = -log_positive(kCrfProbabilityFloor);
  return highest < energy ? highest : energy;
}

// Of the class that a label names, of every other class, and of each where the label says nothing.
struct LabelEnergies {
  float right;
  float wrong;
  float uniform;
};
LabelEnergies label_energies(const CrfUnary& unary);

// ERR_INVALID_ARGUMENT, saying what is wrong with the values or the label of `point`.
Status bad_unary(const CrfUnary& unary, int64_t width, int64_t points, int64_t point);

}  // namespace deeplab

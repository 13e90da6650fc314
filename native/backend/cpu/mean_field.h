// One step of mean-field inference, for a part of an image's points (Krähenbühl and Koltun 2011, algorithm 1). Rows of
// classes are `stride` floats long, as lattice_filter.h says; padding has the energy kPaddingEnergy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/lattice.h"
#include "crf/compatibility.h"
#include "crf/unary.h"

namespace deeplab {

// A pairwise term whose filter has been splat and blurred.
struct FilteredTerm {
  const Lattice* lattice = nullptr;
  const float* values = nullptr;  // [vertices, stride]
  CompatibilityKind kind = CompatibilityKind::kPotts;
  float weight = 0;              // kPotts
  const float* table = nullptr;  // kClasses: [stride]; kMatrix: [classes, stride]
};

struct MeanFieldStep {
  const FilteredTerm* terms = nullptr;
  size_t term_count = 0;
  int64_t classes = 0;
  int64_t stride = 0;
  const float* unary = nullptr;      // [points, stride]
  const float* marginals = nullptr;  // Q that was filtered, [points, stride]
  float* updated = nullptr;          // the new Q, may be `marginals`; null: only measure
};

// What the KL divergence is made of, in nats.
struct FreeEnergy {
  double unary_and_entropy = 0;  // of the new Q: sum of Q (U + log Q)
  double pairwise = 0;           // of the old Q: half the sum of Q times its messages
};

// Q = softmax(-U - messages), for points in [begin, end). `energy` is null where it is not wanted.
void mean_field_update(const MeanFieldStep& step, int64_t begin, int64_t end, FreeEnergy* energy);

}  // namespace deeplab

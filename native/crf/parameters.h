// What a fully connected CRF is made of: its pairwise terms, and how long to infer. Krähenbühl and Koltun, "Efficient
// Inference in Fully Connected CRFs with Gaussian Edge Potentials", 2011; docs/crf.md says it with pictures.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/array.h"

namespace deeplab {

constexpr int kMaxCrfDimensions = 16;

// Probabilities are raised to this before their logarithm is taken.
constexpr float kCrfProbabilityFloor = 1e-5f;

// What a kernel compares.
enum class CrfKernel {
  kGaussian,   // position: 2 dimensions
  kBilateral,  // position and colour: 5 dimensions
  kFeatures,   // anything: 1 to kMaxCrfDimensions dimensions
};

// Whether a filter's sums are divided by what the filter makes of ones.
enum class CrfNormalization {
  kSymmetric,  // by its root, before and after
  kBefore,
  kAfter,
  kNone,
};

// Which coordinate of the position is the first feature. The lattice is not symmetric in its features.
enum class CrfCoordinates { kYX, kXY };

struct CrfTerm {
  CrfKernel kernel = CrfKernel::kGaussian;
  std::array<float, 5> deviations{};  // standard deviations of x, y in pixels, and of r, g, b in 0..255
  std::vector<float> features;        // [dimensions,H,W], in standard deviations; kFeatures only
  int dimensions = 2;
  // Potts weight (1), weight of agreement for each class (classes), or cost of two classes (classes * classes).
  std::vector<float> compatibility;
  CrfNormalization normalization = CrfNormalization::kSymmetric;

  bool operator==(const CrfTerm& other) const {
    return kernel == other.kernel && deviations == other.deviations && features == other.features &&
           dimensions == other.dimensions && compatibility == other.compatibility &&
           normalization == other.normalization;
  }
};

struct CrfModel {
  std::vector<CrfTerm> terms;
  CrfCoordinates coordinates = CrfCoordinates::kYX;

  bool operator==(const CrfModel& other) const { return terms == other.terms && coordinates == other.coordinates; }
};

struct CrfInference {
  int iterations = 10;
  double tolerance = 0;  // stop when an iteration lowers the KL divergence by less nats per pixel; 0: never

  bool operator==(const CrfInference& other) const {
    return iterations == other.iterations && tolerance == other.tolerance;
  }
};

struct CrfParameters {
  CrfModel model;
  CrfInference inference;
};

// Where the unary potentials come from.
struct CrfUnary {
  enum class Kind { kEnergies, kProbabilities, kLabels } kind = Kind::kEnergies;
  Array<float> values;    // [classes,H,W]: energies or probabilities
  Array<uint8_t> labels;  // [H,W]
  int classes = 0;
  double gt_prob = 0;  // probability that a label is right
  int unknown = -1;    // the label that says nothing
};

// Memory for the results, all owned by the caller.
struct CrfOutput {
  uint8_t* labels = nullptr;   // [H,W]
  float* marginals = nullptr;  // [classes,H,W]; null if not wanted
  // [iterations + 1]: up to log Z, in nats, at the start and after each iteration that was run; null if not wanted.
  double* kl_divergence = nullptr;
};

}  // namespace deeplab

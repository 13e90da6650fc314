// Prints a digest of the marginals of some CRFs, for test/instruction-sets.test.ts, which compiles it for each
// instruction set: the lines must be the same.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "backend/cpu/dense_crf.h"

namespace deeplab {
namespace {

const std::atomic<bool> kNotCancelled{false};

constexpr int64_t kWidth = 83, kHeight = 61;

// Numerical Recipes' linear congruential generator, in [0, 1).
class Random {
 public:
  float next() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<float>(state_ >> 8) / 16777216.0f;
  }

 private:
  uint32_t state_ = 1;
};

std::vector<uint8_t> image() {
  Random random;
  std::vector<uint8_t> pixels(kWidth * kHeight * 3);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<uint8_t>(static_cast<double>(i / 3 % kWidth) * 2 + 40 * random.next());
  }
  return pixels;
}

CrfTerm term(CrfKernel kernel, int dimensions, float weight) {
  CrfTerm term;
  term.kernel = kernel;
  term.dimensions = dimensions;
  term.deviations = {5, 4, 13, 11, 12};
  term.compatibility = {weight};
  if (kernel == CrfKernel::kFeatures) {
    Random random;
    term.features.resize(dimensions * kWidth * kHeight);
    for (float& feature : term.features) feature = 4 * random.next();
  }
  return term;
}

uint64_t digest(const std::vector<float>& values) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 1099511628211u;
  }
  return hash;
}

int print(int classes, int dimensions, CrfUnary::Kind kind) {
  const std::vector<uint8_t> pixels = image();
  CrfModel model;
  model.terms = {term(CrfKernel::kGaussian, 2, 3), term(CrfKernel::kBilateral, 5, 4),
                 term(CrfKernel::kFeatures, dimensions, 1)};
  auto crf = DenseCrf::build({1, 3, kHeight, kWidth}, pixels.data(), model, 2, kNotCancelled);
  if (!crf.ok()) return 1;
  CrfUnary unary;
  unary.kind = kind;
  unary.classes = classes;
  Random random;
  const int64_t points = kWidth * kHeight;
  if (!unary.values.allocate(points * classes).ok()) return 1;
  for (int64_t i = 0; i < points; ++i) {
    float sum = 0;
    for (int c = 0; c < classes; ++c) sum += unary.values[c * points + i] = 0.01f + random.next();
    for (int c = 0; c < classes; ++c) unary.values[c * points + i] /= sum;
  }
  std::vector<uint8_t> labels(points);
  std::vector<float> marginals(points * classes);
  if (!(*crf)->infer(std::move(unary), {5, 0}, {labels.data(), marginals.data(), nullptr}, kNotCancelled).ok())
    return 1;
  std::printf("%d classes, %d features: %016llx\n", classes, dimensions,
              static_cast<unsigned long long>(digest(marginals)));
  return 0;
}

}  // namespace
}  // namespace deeplab

int main() {
  using deeplab::print;
  using Kind = deeplab::CrfUnary::Kind;
  return print(2, 1, Kind::kProbabilities) + print(7, 3, Kind::kEnergies) + print(14, 6, Kind::kProbabilities) +
         print(21, 9, Kind::kProbabilities) + print(30, 12, Kind::kEnergies) + print(61, 16, Kind::kProbabilities);
}

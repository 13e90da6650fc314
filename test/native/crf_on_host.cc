// Holds the CUDA backend's CRF, run on the host, against the CPU backend's: `crf_on_host [seed]`. Prints each case's
// largest errors, and "ok" at the end; exits with 1 where a result is not the CPU's.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/crf.h"
#include "backend/cuda/dense_crf.h"

namespace deeplab {
namespace {

const std::atomic<bool> kNotCancelled{false};

// The contract is 1e-4.
constexpr float kTolerance = 1e-5f;
constexpr double kDivergenceTolerance = 1e-6;  // relative

std::mt19937 random_bits;
bool failed = false;

float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_bits); }

void expect(bool good, const char* name, const std::string& what) {
  if (good) return;
  std::printf("FAILED %s: %s\n", name, what.c_str());
  failed = true;
}

// Or the program ends: nothing can be compared.
template <typename T>
T value_of(Result<T> result, const char* name) {
  if (!result.ok()) {
    std::printf("FAILED %s: %s\n", name, result.status().message().c_str());
    std::exit(1);
  }
  return std::move(*result);
}
void must(const Status& status, const char* name) {
  value_of(status.ok() ? Result<int>(0) : Result<int>(status), name);
}

enum class Content { kNoise, kSmooth, kFlat };

std::vector<uint8_t> make_pixels(const Shape& image, Content content) {
  std::vector<uint8_t> pixels(image.c * image.h * image.w);
  for (size_t i = 0; i < pixels.size(); ++i) {
    const auto x = static_cast<float>(i / image.c % image.w), y = static_cast<float>(i / image.c / image.w);
    const float smooth = 128 + 60 * std::sin(x / 9 + y / 17 + static_cast<float>(i % image.c)) + uniform(-8, 8);
    const float value = content == Content::kNoise ? uniform(0, 255) : content == Content::kSmooth ? smooth : 77;
    pixels[i] = static_cast<uint8_t>(value);
  }
  return pixels;
}

enum class Compatibility { kPotts, kClasses, kMatrix };

// Features come in three clusters, `spread` deviations apart, so that points share vertices in any dimension.
CrfTerm make_term(CrfKernel kernel, int dimensions, const Shape& image, int classes, Compatibility compatibility,
                  CrfNormalization normalization, float spread = 1) {
  CrfTerm term;
  term.kernel = kernel;
  term.dimensions = dimensions;
  term.normalization = normalization;
  for (float& deviation : term.deviations) deviation = uniform(2, 20);
  if (kernel == CrfKernel::kFeatures) {
    term.features.resize(dimensions * image.h * image.w);
    for (size_t i = 0; i < term.features.size(); ++i) {
      const auto cluster = static_cast<float>(i % 3) - 1;
      term.features[i] = cluster * spread + uniform(-0.5f, 0.5f);
    }
  }
  const int numbers =
      compatibility == Compatibility::kPotts ? 1 : classes * (compatibility == Compatibility::kMatrix ? classes : 1);
  term.compatibility.resize(numbers);
  for (float& number : term.compatibility) number = uniform(0.5f, 4);
  if (compatibility != Compatibility::kMatrix) return term;
  for (int a = 0; a < classes; ++a) {
    for (int b = 0; b <= a; ++b) {
      term.compatibility[a * classes + b] = term.compatibility[b * classes + a] = a == b ? 0 : uniform(0, 2);
    }
  }
  return term;
}

CrfUnary make_unary(CrfUnary::Kind kind, int classes, int64_t points) {
  CrfUnary unary;
  unary.kind = kind;
  unary.classes = classes;
  unary.gt_prob = 0.7;
  unary.unknown = kind == CrfUnary::Kind::kLabels && classes < 255 ? 255 : -1;
  if (kind == CrfUnary::Kind::kLabels) {
    must(unary.labels.allocate(points), "unary");
    for (int64_t i = 0; i < points; ++i) {
      const auto label = static_cast<int>(uniform(0, static_cast<float>(classes) - 0.01f));
      unary.labels[i] = static_cast<uint8_t>(unary.unknown > 0 && uniform(0, 1) < 0.2f ? unary.unknown : label);
    }
    return unary;
  }
  must(unary.values.allocate(points * classes), "unary");
  for (int64_t i = 0; i < points; ++i) {
    float sum = 0;
    for (int c = 0; c < classes; ++c) {
      const float energy = uniform(-3, 8);
      sum += unary.values[c * points + i] = kind == CrfUnary::Kind::kEnergies ? energy : std::exp(-2 * energy);
    }
    if (kind == CrfUnary::Kind::kEnergies) continue;
    for (int c = 0; c < classes; ++c) unary.values[c * points + i] /= sum;
  }
  return unary;
}

CrfUnary copy_of(const CrfUnary& unary) {
  CrfUnary copy;
  copy.kind = unary.kind;
  copy.classes = unary.classes;
  copy.gt_prob = unary.gt_prob;
  copy.unknown = unary.unknown;
  must(copy.values.allocate(unary.values.size()), "unary");
  must(copy.labels.allocate(unary.labels.size()), "unary");
  std::copy_n(unary.values.data(), unary.values.size(), copy.values.data());
  std::copy_n(unary.labels.data(), unary.labels.size(), copy.labels.data());
  return copy;
}

struct Inferred {
  Status status;
  std::vector<uint8_t> labels;
  std::vector<float> marginals;
  std::vector<double> divergence;

  bool operator==(const Inferred& other) const {
    return labels == other.labels && marginals == other.marginals && divergence == other.divergence;
  }
};

constexpr double kNotWritten = -1e300;

Inferred infer(Crf& crf, const CrfUnary& unary, int64_t points, const CrfInference& inference, bool divergence,
               bool cancelled = false) {
  Inferred result;
  result.labels.assign(points, 255);
  result.marginals.assign(points * unary.classes, -1.0f);
  if (divergence) result.divergence.assign(inference.iterations + 1, kNotWritten);
  const std::atomic<bool> flag{cancelled};
  result.status =
      crf.infer(copy_of(unary), inference,
                {result.labels.data(), result.marginals.data(), divergence ? result.divergence.data() : nullptr}, flag);
  return result;
}

// Errors of the marginals, and labels that differ where the two best marginals are further apart than the tolerance.
void compare(const char* name, const Inferred& got, const Inferred& wanted, int classes, const std::string& remark) {
  expect(got.status.ok() && wanted.status.ok(), name, got.status.message() + wanted.status.message());
  const auto points = static_cast<int64_t>(wanted.labels.size());
  float error = 0;
  for (size_t i = 0; i < wanted.marginals.size(); ++i) {
    const float difference = std::abs(got.marginals[i] - wanted.marginals[i]);
    error = difference <= error ? error : difference;  // a NaN stays
  }
  int64_t differing = 0, wrong = 0;
  for (int64_t i = 0; i < points; ++i) {
    if (got.labels[i] == wanted.labels[i]) continue;
    ++differing;
    const auto marginal = [&](int c) { return c < classes ? wanted.marginals[c * points + i] : 0.0f; };
    wrong += !(std::abs(marginal(got.labels[i]) - marginal(wanted.labels[i])) <= kTolerance);
  }
  double divergence = 0;
  for (size_t i = 0; i < wanted.divergence.size(); ++i) {
    const double difference =
        std::abs(got.divergence[i] - wanted.divergence[i]) / std::max(1.0, std::abs(wanted.divergence[i]));
    divergence = difference <= divergence ? divergence : difference;
  }
  std::printf("%-44s marginals %.1e, labels %lld", name, static_cast<double>(error), static_cast<long long>(differing));
  if (!wanted.divergence.empty()) std::printf(", divergence %.1e", divergence);
  std::printf("%s\n", remark.c_str());
  expect(error <= kTolerance, name, "the marginals are not the CPU's");
  expect(wrong == 0, name, "the labels are not the CPU's");
  expect(divergence <= kDivergenceTolerance, name, "the divergences are not the CPU's");
}

// Both backends on the same image; the device's twice, and with lattices that had to grow.
void check(const char* name, const Shape& image, Content content, const CrfModel& model, CrfUnary::Kind kind,
           int classes, const CrfInference& inference, bool divergence = false) {
  const int64_t points = image.h * image.w;
  const std::vector<uint8_t> pixels = make_pixels(image, content);
  const CrfUnary unary = make_unary(kind, classes, points);
  auto cpu = value_of(cpu_backend()->build_crf(image, pixels.data(), model, 2, kNotCancelled), name);
  const Inferred wanted = infer(*cpu, unary, points, inference, divergence);
  auto device = value_of(cuda::build_crf(0, image, pixels.data(), model), name);
  expect(device->vertices() == cpu->vertices(), name, "the lattices' vertices are not the CPU's");
  expect(device->lattice_bytes() > 0, name, "lattices take memory");
  const Inferred got = infer(*device, unary, points, inference, divergence);
  int64_t vertices = 0;
  for (const int64_t count : cpu->vertices()) vertices = std::max(vertices, count);
  compare(name, got, wanted, classes, ", " + std::to_string(vertices) + " vertices");
  expect(infer(*device, unary, points, inference, divergence) == got, name, "a second inference differs");
  auto grown = value_of(cuda::build_crf(0, image, pixels.data(), model, 1), name);
  expect(infer(*grown, unary, points, inference, divergence) == got, name, "a lattice that grew differs");
}

void check_dimensions() {
  const Shape image{1, 3, 19, 23};
  for (int d = 1; d <= kMaxCrfDimensions; ++d) {
    // Clusters that lie far apart make codes of many bits: up to eight words.
    const float spread = d % 3 == 0 ? 1.0f : 30000.0f / static_cast<float>(d);
    const CrfModel model{
        {make_term(CrfKernel::kFeatures, d, image, 5, Compatibility::kPotts, CrfNormalization::kSymmetric, spread)},
        CrfCoordinates::kYX};
    check(("features of " + std::to_string(d) + " dimensions").c_str(), image, Content::kNoise, model,
          CrfUnary::Kind::kEnergies, 5, {3, 0});
  }
}

void check_sizes() {
  const Shape images[] = {{1, 3, 1, 1}, {1, 3, 1, 37}, {1, 3, 41, 1}, {1, 1, 7, 5}, {1, 4, 33, 29}, {1, 3, 61, 83}};
  for (const Shape& image : images) {
    for (const auto coordinates : {CrfCoordinates::kYX, CrfCoordinates::kXY}) {
      CrfModel model;
      model.coordinates = coordinates;
      for (const auto kernel : {CrfKernel::kGaussian, CrfKernel::kBilateral}) {
        model.terms.push_back(make_term(kernel, kernel == CrfKernel::kGaussian ? 2 : 5, image, 21,
                                        Compatibility::kPotts, CrfNormalization::kSymmetric));
      }
      const std::string name = "image " + to_string(image) + (coordinates == CrfCoordinates::kXY ? ", x first" : "");
      check(name.c_str(), image, Content::kSmooth, model, CrfUnary::Kind::kProbabilities, 21, {5, 0});
    }
  }
}

void check_classes_and_compatibilities() {
  const Shape image{1, 3, 17, 31};
  const char* const names[] = {"Potts", "per class", "matrix"};
  for (const int classes : {2, 3, 21, 33, 256}) {
    for (const auto first : {Compatibility::kPotts, Compatibility::kClasses, Compatibility::kMatrix}) {
      for (const auto kind : {CrfUnary::Kind::kEnergies, CrfUnary::Kind::kProbabilities, CrfUnary::Kind::kLabels}) {
        const auto second = static_cast<Compatibility>((static_cast<int>(first) + static_cast<int>(kind)) % 3);
        const CrfModel model{{make_term(CrfKernel::kGaussian, 2, image, classes, first, CrfNormalization::kSymmetric),
                              make_term(CrfKernel::kBilateral, 5, image, classes, second, CrfNormalization::kAfter)},
                             CrfCoordinates::kYX};
        const std::string name = std::to_string(classes) + " classes, " + names[static_cast<int>(first)] + " and " +
                                 names[static_cast<int>(second)] + ", unary " + std::to_string(static_cast<int>(kind));
        check(name.c_str(), image, Content::kSmooth, model, kind, classes, {2, 0});
      }
    }
  }
}

void check_normalizations() {
  const Shape image{1, 3, 29, 31};
  for (const auto kind :
       {CrfNormalization::kSymmetric, CrfNormalization::kBefore, CrfNormalization::kAfter, CrfNormalization::kNone}) {
    CrfModel model{{make_term(CrfKernel::kGaussian, 2, image, 4, Compatibility::kPotts, kind),
                    make_term(CrfKernel::kBilateral, 5, image, 4, Compatibility::kPotts, kind)},
                   CrfCoordinates::kYX};
    // What is not normalized is large: messages of hundreds of nats would be rounded to 1e-5.
    if (kind == CrfNormalization::kNone) {
      for (CrfTerm& term : model.terms) term.compatibility[0] = 0.01f;
    }
    check(("normalization " + std::to_string(static_cast<int>(kind))).c_str(), image, Content::kSmooth, model,
          CrfUnary::Kind::kEnergies, 4, {10, 0});
  }
}

// All pixels have one colour and lie within a deviation: a few vertices with thousands of splats.
void check_flat() {
  const Shape image{1, 3, 71, 97};
  CrfModel model{{make_term(CrfKernel::kBilateral, 5, image, 3, Compatibility::kPotts, CrfNormalization::kSymmetric)},
                 CrfCoordinates::kYX};
  model.terms[0].deviations = {500, 500, 10, 10, 10};
  check("flat image", image, Content::kFlat, model, CrfUnary::Kind::kEnergies, 3, {5, 0});
}

void check_divergence() {
  const Shape image{1, 3, 37, 43};
  const CrfModel model{
      {make_term(CrfKernel::kGaussian, 2, image, 6, Compatibility::kMatrix, CrfNormalization::kSymmetric),
       make_term(CrfKernel::kBilateral, 5, image, 6, Compatibility::kPotts, CrfNormalization::kSymmetric)},
      CrfCoordinates::kYX};
  check("divergence", image, Content::kSmooth, model, CrfUnary::Kind::kEnergies, 6, {7, 0}, true);
  check("divergence of no iteration", image, Content::kSmooth, model, CrfUnary::Kind::kEnergies, 6, {0, 0}, true);
  check("tolerance", image, Content::kSmooth, model, CrfUnary::Kind::kEnergies, 6, {50, 1e-3}, true);
  check("no iteration", image, Content::kSmooth, model, CrfUnary::Kind::kEnergies, 6, {0, 0});
}

// Where classes are equal, the label is the first of them.
void check_ties() {
  const char* const name = "ties";
  const Shape image{1, 3, 11, 13};
  const int64_t points = image.h * image.w;
  for (const int classes : {2, 9, 130}) {
    const CrfModel model{
        {make_term(CrfKernel::kGaussian, 2, image, classes, Compatibility::kPotts, CrfNormalization::kSymmetric)},
        CrfCoordinates::kYX};
    CrfUnary unary = make_unary(CrfUnary::Kind::kEnergies, classes, points);
    // Class 0 is out of it.
    std::fill_n(unary.values.data(), unary.values.size(), 1.0f);
    std::fill_n(unary.values.data(), points, 20.0f);
    auto crf = value_of(cuda::build_crf(0, image, nullptr, model), name);
    expect(infer(*crf, unary, points, {3, 0}, false).labels == std::vector<uint8_t>(points, 1), name,
           "the first of equal classes is not the label");
  }
}

// Both refuse a unary with the same words.
void check_refused(const char* name, CrfUnary::Kind kind, float bad) {
  const Shape image{1, 3, 9, 13};
  const int64_t points = image.h * image.w;
  const CrfModel model{
      {make_term(CrfKernel::kGaussian, 2, image, 3, Compatibility::kPotts, CrfNormalization::kSymmetric)},
      CrfCoordinates::kYX};
  CrfUnary unary = make_unary(kind, 3, points);
  for (const int64_t at : {points - 1, points / 2, points / 2 + 1}) {
    if (kind == CrfUnary::Kind::kLabels) {
      unary.labels[at] = static_cast<uint8_t>(bad);
    } else {
      unary.values[at] = bad;
    }
  }
  auto cpu = value_of(cpu_backend()->build_crf(image, nullptr, model, 2, kNotCancelled), name);
  auto device = value_of(cuda::build_crf(0, image, nullptr, model), name);
  const Status wanted = infer(*cpu, unary, points, {1, 0}, false).status;
  const Status got = infer(*device, unary, points, {1, 0}, false).status;
  std::printf("%-44s %s\n", name, got.message().c_str());
  expect(!got.ok() && got.code() == wanted.code() && got.message() == wanted.message(), name,
         "the CPU says: " + wanted.message());
}

void check_refusals() {
  check_refused("an energy that is none", CrfUnary::Kind::kEnergies, NAN);
  check_refused("an energy that is too large", CrfUnary::Kind::kEnergies, -2e9f);
  check_refused("a probability that is none", CrfUnary::Kind::kProbabilities, -0.5f);
  check_refused("probabilities of another sum", CrfUnary::Kind::kProbabilities, 2.5f);
  check_refused("a label of no class", CrfUnary::Kind::kLabels, 3);

  const char* const name = "refusals";
  const Shape image{1, 3, 5, 5};
  CrfModel model{{make_term(CrfKernel::kFeatures, 3, image, 4, Compatibility::kClasses, CrfNormalization::kSymmetric)},
                 CrfCoordinates::kYX};
  auto cpu = value_of(cpu_backend()->build_crf(image, nullptr, model, 1, kNotCancelled), name);
  auto device = value_of(cuda::build_crf(0, image, nullptr, model), name);
  const CrfUnary unary = make_unary(CrfUnary::Kind::kEnergies, 3, 25);
  expect(infer(*device, unary, 25, {1, 0}, false).status.message() ==
             infer(*cpu, unary, 25, {1, 0}, false).status.message(),
         name, "another number of classes is not the CPU's");
  const CrfUnary good = make_unary(CrfUnary::Kind::kEnergies, 4, 25);
  expect(infer(*device, good, 25, {1, 0}, false, true).status.code() == Code::kAborted, name, "not cancelled");
  expect(infer(*device, good, 25, {1, 0}, true, true).status.code() == Code::kAborted, name, "not cancelled");
  for (const float far : {1e8f, INFINITY}) {
    model.terms[0].features[7] = far;
    const Status got = cuda::build_crf(0, image, nullptr, model).status();
    expect(!got.ok() &&
               got.message() == cpu_backend()->build_crf(image, nullptr, model, 1, kNotCancelled).status().message(),
           name, "features are not refused in the CPU's words");
  }
}

// Images one after the other through one DenseCrf, as a network's executable does, with too little room at first.
void check_batch() {
  const char* const name = "batch";
  constexpr int kImages = 3, kClasses = 7, kIterations = 4;
  const Shape image{1, 3, 31, 27};
  const int64_t points = image.h * image.w, stride = cuda::row_stride(kClasses);
  const CrfModel model{
      {make_term(CrfKernel::kBilateral, 5, image, kClasses, Compatibility::kPotts, CrfNormalization::kSymmetric),
       make_term(CrfKernel::kGaussian, 2, image, kClasses, Compatibility::kClasses, CrfNormalization::kSymmetric)},
      CrfCoordinates::kYX};
  auto crf = value_of(cuda::DenseCrf::create(nullptr, image, model, kClasses, false, 10), name);
  const Content contents[] = {Content::kFlat, Content::kNoise, Content::kSmooth};
  std::vector<std::vector<uint8_t>> pixels;
  std::vector<CrfUnary> unaries;
  std::vector<cuda::DeviceBuffer> rows(kImages), images(kImages);
  for (int i = 0; i < kImages; ++i) {
    pixels.push_back(make_pixels(image, contents[i]));
    unaries.push_back(make_unary(CrfUnary::Kind::kEnergies, kClasses, points));
    must(images[i].allocate(pixels[i].size(), name), name);
    must(cuda::copy_to_device(nullptr, images[i].data(), pixels[i].data(), pixels[i].size()), name);
    must(rows[i].allocate(points * stride * sizeof(float), name), name);
    for (int64_t j = 0; j < points * stride; ++j) {
      const int64_t point = j / stride, c = j % stride;
      rows[i].as<float>()[j] = c < kClasses ? unaries[i].values[c * points + point] : 1e30f;
    }
  }
  std::vector<Inferred> got(kImages);
  int runs = 0;
  for (bool settled = false; !settled; ++runs) {
    for (int i = 0; i < kImages; ++i) {
      got[i].labels.assign(points, 255);
      got[i].marginals.assign(points * kClasses, -1.0f);
      must(crf->build(nullptr, images[i].as<uint8_t>()), name);
      must(crf->infer(nullptr, rows[i].as<float>(), {kIterations, 0}, got[i].labels.data(), got[i].marginals.data()),
           name);
    }
    settled = value_of(crf->settle(nullptr), name);
  }
  expect(runs == 2, name, "growing took " + std::to_string(runs) + " runs instead of 2");
  for (int i = 0; i < kImages; ++i) {
    auto cpu = value_of(cpu_backend()->build_crf(image, pixels[i].data(), model, 2, kNotCancelled), name);
    compare(name, got[i], infer(*cpu, unaries[i], points, {kIterations, 0}, false), kClasses, "");
  }
  std::vector<uint8_t> labels(points);
  must(crf->infer(nullptr, rows[kImages - 1].as<float>(), {kIterations, 0}, labels.data(), nullptr), name);
  expect(labels == got[kImages - 1].labels, name, "labels without marginals differ");
}

}  // namespace
}  // namespace deeplab

int main(int argc, char** argv) {
  using namespace deeplab;
  const unsigned seed = argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : std::random_device()();
  std::printf("seed %u\n", seed);
  random_bits.seed(seed);
  check_dimensions();
  check_sizes();
  check_classes_and_compatibilities();
  check_normalizations();
  check_flat();
  check_divergence();
  check_ties();
  check_refusals();
  check_batch();
  std::printf(failed ? "failed\n" : "ok\n");
  return failed ? 1 : 0;
}

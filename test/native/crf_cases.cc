// Fully connected CRFs of a device, held against the CPU backend's: by themselves, of every kernel, unary,
// compatibility and normalisation, and after a network.

#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "comparison.h"
#include "device_run.h"
#include "graph/passes.h"
#include "random_network.h"

namespace deeplab {
namespace {

// Of marginals that two backends compute of the same potentials.
constexpr double kMarginalBound = 1e-4;

const std::atomic<bool> kNotCancelled{false};

struct Refined {
  std::vector<uint8_t> labels;
  std::vector<float> marginals;  // [classes,H,W]
  std::vector<int64_t> vertices;
};

// Of one pixel after the other: by how much the best class is above the second.
std::vector<double> margins_of(const float* scores, int64_t images, int64_t classes, int64_t area) {
  std::vector<double> margins(images * area);
  for (int64_t i = 0; i < images * area; ++i) {
    const float* pixel = scores + i / area * classes * area + i % area;
    float best = 0, second = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const float score = pixel[c * area];
      second = std::max(second, std::min(best, score));
      best = std::max(best, score);
    }
    margins[i] = best - second;
  }
  return margins;
}

// ---- CRFs by themselves ----

struct CrfCase {
  std::string name;
  Shape image;
  CrfModel model;
  CrfUnary::Kind unary = CrfUnary::Kind::kProbabilities;
  int classes = 21;
  int iterations = 5;
};

Result<CrfUnary> random_unary(const CrfCase& test, uint64_t seed) {
  Random random(seed);
  const int64_t points = test.image.h * test.image.w;
  CrfUnary unary;
  unary.kind = test.unary;
  unary.classes = test.classes;
  if (test.unary == CrfUnary::Kind::kLabels) {
    unary.gt_prob = 0.7;
    unary.unknown = 255;
    DEEPLAB_RETURN_IF_ERROR(unary.labels.allocate(points));
    for (int64_t i = 0; i < points; ++i) {
      unary.labels[i] = random.unit() < 0.2f ? 255 : static_cast<uint8_t>(random.byte() % test.classes);
    }
    return unary;
  }
  DEEPLAB_RETURN_IF_ERROR(unary.values.allocate(points * test.classes));
  for (int64_t i = 0; i < points; ++i) {
    float sum = 0;
    for (int64_t c = 0; c < test.classes; ++c) sum += unary.values[c * points + i] = 0.01f + random.unit();
    if (test.unary == CrfUnary::Kind::kEnergies) continue;
    for (int64_t c = 0; c < test.classes; ++c) unary.values[c * points + i] /= sum;
  }
  return unary;
}

Result<Refined> refine(Backend& backend, const CrfCase& test, uint64_t seed, int threads) {
  const std::vector<uint8_t> picture = random_picture(test.image, seed);
  auto crf = backend.build_crf(test.image, picture.data(), test.model, threads, kNotCancelled);
  if (!crf.ok()) return crf.status();
  auto unary = random_unary(test, seed + 1);
  if (!unary.ok()) return unary.status();
  const int64_t points = test.image.h * test.image.w;
  Refined result{std::vector<uint8_t>(points, 255), std::vector<float>(points * test.classes, std::nanf("")),
                 (*crf)->vertices()};
  DEEPLAB_RETURN_IF_ERROR((*crf)->infer(std::move(*unary), {test.iterations, 0},
                                        {result.labels.data(), result.marginals.data(), nullptr}, kNotCancelled));
  return result;
}

void compare_crf(Comparison& comparison, const std::string& name, const CrfCase& test) {
  const uint64_t seed = seed_of(comparison.seed, name);
  CrfCase seeded = test;
  for (CrfTerm& term : seeded.model.terms) {
    if (term.kernel != CrfKernel::kFeatures) continue;
    Random random(seed);
    term.features.resize(term.dimensions * test.image.h * test.image.w);
    for (float& feature : term.features) feature = 3 * random.unit();
  }
  const auto result = [&]() -> Result<std::vector<Measure>> {
    auto expected = refine(*cpu_backend(), seeded, seed, comparison.threads);
    if (!expected.ok()) return expected.status();
    auto refined = refine(*comparison.device, seeded, seed, comparison.threads);
    if (!refined.ok()) return refined.status();
    const int64_t area = test.image.h * test.image.w;
    const auto margins = margins_of(expected->marginals.data(), 1, test.classes, area);
    int64_t vertices = 0;
    for (size_t i = 0; i < expected->vertices.size(); ++i) {
      vertices += std::abs(expected->vertices[i] - (i < refined->vertices.size() ? refined->vertices[i] : 0));
    }
    return std::vector<Measure>{
        {"marginals", largest_difference(refined->marginals.data(), expected->marginals.data(), area * test.classes),
         kMarginalBound},
        {"labels", agreement(refined->labels, expected->labels, margins, 2 * kMarginalBound), 1, true},
        {"vertices", static_cast<double>(vertices), 0}};
  };
  comparison.report(name, "f32", result());
}

CrfTerm term(CrfKernel kernel, int dimensions, std::vector<float> compatibility) {
  CrfTerm term;
  term.kernel = kernel;
  term.dimensions = dimensions;
  term.deviations = {kernel == CrfKernel::kBilateral ? 20.0f : 3.0f, kernel == CrfKernel::kBilateral ? 24.0f : 2.5f, 13,
                     11, 12};
  term.compatibility = std::move(compatibility);
  return term;
}

CrfTerm with(CrfTerm term, CrfNormalization normalization) {
  term.normalization = normalization;
  return term;
}

// A cost for each pair of classes, or an agreement's weight for each class.
std::vector<float> table(size_t size) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = 0.5f + static_cast<float>(i * 7 % 11) / 11.0f;
  return values;
}

std::vector<CrfCase> lone_crfs() {
  constexpr auto kGaussian = CrfKernel::kGaussian, kBilateral = CrfKernel::kBilateral, kFeatures = CrfKernel::kFeatures;
  using Kind = CrfUnary::Kind;
  const Shape image{1, 3, 41, 53};
  const CrfTerm position = term(kGaussian, 2, {3}), appearance = term(kBilateral, 5, {4});
  const CrfModel both{{appearance, position}, CrfCoordinates::kYX};
  std::vector<CrfCase> cases = {
      {"CRF: Gaussian", image, {{position}}},
      {"CRF: bilateral", image, {{appearance}}},
      {"CRF: published parameters", image, plain_config(1).crf.model, Kind::kEnergies, 21, 10},
      {"CRF: coordinates x, y", image, {{appearance, position}, CrfCoordinates::kXY}},
      {"CRF: no iteration", image, both, Kind::kProbabilities, 21, 0},
      {"CRF: of labels", image, both, Kind::kLabels},
      {"CRF: grey image", {1, 1, 41, 53}, both},
      {"CRF: RGBA image", {1, 4, 41, 53}, both},
      {"CRF: one pixel", {1, 3, 1, 1}, both},
      {"CRF: one row", {1, 3, 1, 97}, both},
      {"CRF: agreement by class", image, {{term(kBilateral, 5, table(7))}}, Kind::kEnergies, 7},
      {"CRF: cost of two classes", image, {{term(kBilateral, 5, table(49)), position}}, Kind::kEnergies, 7},
  };
  for (const int classes : {1, 2, 4, 33, 256}) {
    cases.push_back({"CRF: " + std::to_string(classes) + " classes", {1, 3, 25, 31}, both, Kind::kEnergies, classes});
  }
  for (const int dimensions : {1, 3, 8, 16}) {
    cases.push_back(
        {"CRF: " + std::to_string(dimensions) + " features", {1, 3, 25, 31}, {{term(kFeatures, dimensions, {2})}}});
  }
  const std::pair<const char*, CrfNormalization> normalizations[] = {{"before", CrfNormalization::kBefore},
                                                                     {"after", CrfNormalization::kAfter}};
  for (const auto& [name, normalization] : normalizations) {
    cases.push_back({std::string("CRF: normalisation ") + name, image, {{with(appearance, normalization)}}});
  }
  // Sums over hundreds of pixels: with a usual weight, energies would be so large that their rounding decides.
  cases.push_back({"CRF: normalisation none", image, {{with(term(kBilateral, 5, {0.01f}), CrfNormalization::kNone)}}});
  return cases;
}

// ---- After a network ----

void compare_segmentation(Comparison& comparison, const std::string& name, const Shape& image, int classes,
                          const CrfInference& inference) {
  const uint64_t seed = seed_of(comparison.seed, name);
  NetworkAround around(plain_config(classes));
  const NodeId x = around.conv(around.conv(around.input(), 20, {3, 2, 1, 1}), 33, {3, 2, 1, 1});
  const Graph graph = around.finish(x, {2, 4});
  CrfParameters crf = plain_config(1).crf;
  crf.inference = inference;
  const std::vector<uint8_t> picture = random_picture(image, seed + 1);
  const auto segment = [&](Backend& backend, const std::shared_ptr<const Safetensors>& weights) -> Result<Outputs> {
    const Graph optimized = optimize(graph);
    auto network = load_network(backend, weights, comparison.options(Precision::kF32));
    if (!network.ok()) return network.status();
    auto compiled = compile(*network, optimized, image);
    if (!compiled.ok()) return compiled.status();
    return compiled->run(picture, &crf);
  };
  const auto result = [&]() -> Result<std::vector<Measure>> {
    auto weights = random_weights(graph, seed);
    if (!weights.ok()) return weights.status();
    auto expected = segment(*cpu_backend(), *weights);
    if (!expected.ok()) return expected.status();
    auto refined = segment(*comparison.device, *weights);
    if (!refined.ok()) return refined.status();
    const auto margins = margins_of(expected->scores(), image.n, classes, image.h * image.w);
    return std::vector<Measure>{
        {"marginals", largest_difference(refined->scores(), expected->scores(), expected->score_count()),
         kMarginalBound},
        {"labels", agreement(refined->labels(), expected->labels(), margins, 2 * kMarginalBound), 0.999, true}};
  };
  comparison.report(name, "f32", result());
}

}  // namespace

std::vector<Case> crf_cases() {
  std::vector<Case> cases;
  for (const CrfCase& test : lone_crfs()) {
    cases.push_back({test.name, true,
                     [test](Comparison& comparison, const std::string& name) { compare_crf(comparison, name, test); }});
  }
  CrfCase large{"CRF: 513x513", {1, 3, 513, 513}, plain_config(1).crf.model, CrfUnary::Kind::kEnergies, 21, 10};
  cases.push_back({large.name, false,
                   [large](Comparison& comparison, const std::string& name) { compare_crf(comparison, name, large); }});
  const auto segment = [&](const std::string& name, bool quick, const Shape& image, int classes,
                           const CrfInference& inference) {
    cases.push_back({name, quick, [=](Comparison& comparison, const std::string& full_name) {
                       compare_segmentation(comparison, full_name, image, classes, inference);
                     }});
  };
  segment("segmentation with a CRF", true, {1, 3, 33, 41}, 21, {10, 0});
  segment("segmentation with a CRF, batch of 2, RGBA", true, {2, 4, 27, 20}, 5, {3, 0});
  segment("segmentation with a CRF, grey, one row", true, {1, 1, 1, 60}, 2, {3, 0});
  segment("segmentation with a CRF until it changes little", true, {2, 3, 33, 41}, 21, {50, 1e-3});
  segment("segmentation with a CRF, 321x257", false, {8, 3, 257, 321}, 21, {10, 0});
  return cases;
}

}  // namespace deeplab

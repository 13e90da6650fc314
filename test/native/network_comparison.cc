#include "network_comparison.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "device_run.h"
#include "graph/passes.h"
#include "random_network.h"

namespace deeplab {
namespace {

// What a result must be, to within a bound.
struct Expected {
  std::vector<double> logits;
  ReferenceLabels labels;
  std::vector<uint8_t> cpu_labels;
};

struct Inputs {
  std::vector<uint8_t> pixels;
  std::vector<float> logits;

  Inputs(const Graph& graph, const Shape& image, uint64_t seed)
      : pixels(random_pixels(image, seed)), logits(random_logits(graph, image, seed)) {}
  RunInput view() const { return {pixels.data(), logits.data(), nullptr}; }
};

const ModelConfig& config_of(const Graph& graph) { return std::get<SegmentationHead>(graph.nodes.back().op).config; }

Result<Expected> expected_of(const Comparison& comparison, const NetworkCase& test,
                             const std::shared_ptr<const Safetensors>& weights, const Inputs& inputs) {
  auto network = load_network(*cpu_backend(), weights, comparison.options(Precision::kF32));
  if (!network.ok()) return network.status();
  auto compiled = compile(*network, test.optimized(), test.image);
  if (!compiled.ok()) return compiled.status();
  auto outputs = compiled->run(inputs.pixels, nullptr, inputs.logits);
  if (!outputs.ok()) return outputs.status();
  ReferenceTensor logits{compiled->logits, {outputs->logits(), outputs->logits() + compiled->logits.elements()}};
  if (test.in_float64) {
    auto reference = reference_logits(test.plain(), *weights, test.image, inputs.view());
    if (!reference.ok()) return reference.status();
    logits = std::move(*reference);
  }
  ReferenceLabels labels = reference_labels(config_of(test.graph), test.image, logits);
  return Expected{std::move(logits.values), std::move(labels), outputs->labels()};
}

std::vector<Measure> measure(const Outputs& outputs, const Expected& expected, Precision precision, double bound) {
  const double rms = root_mean_square(expected.logits);
  // Twice what the precision may cost a difference of two logits, at its worst pixel.
  const double tie = 10 * bound * rms;
  std::vector<float> scores(expected.labels.scores.values.begin(), expected.labels.scores.values.end());
  const double score_bound = precision == Precision::kF32 ? 1e-4 : 5 * bound * std::max(rms, 1.0);
  const double labels_bound = precision == Precision::kF32 ? 0.999 : 0.99;
  return {
      {"logits", relative_error(outputs.logits(), expected.logits), bound},
      {"peak", peak_error(outputs.logits(), expected.logits), 10 * bound},
      {"labels", agreement(outputs.labels(), expected.cpu_labels, expected.labels.margins, tie), labels_bound, true},
      {"scores", largest_difference(outputs.scores(), scores.data(), scores.size()), score_bound}};
}

void compare_network(Comparison& comparison, const std::string& name, const NetworkCase& test) {
  const uint64_t seed = seed_of(comparison.seed, name);
  auto weights = random_weights(test.graph, seed);
  if (!weights.ok()) return comparison.report(name, "", weights.status());
  const Inputs inputs(test.graph, test.image, seed + 1);
  auto expected = expected_of(comparison, test, *weights, inputs);
  if (!expected.ok()) return comparison.report(name, "", expected.status());
  const Graph optimized = test.optimized();
  for (const Precision precision : comparison.precisions) {
    const auto result = [&]() -> Result<std::vector<Measure>> {
      auto network = load_network(*comparison.device, *weights, comparison.options(precision));
      if (!network.ok()) return network.status();
      auto compiled = compile(*network, optimized, test.image);
      if (!compiled.ok()) return compiled.status();
      auto outputs = compiled->run(inputs.pixels, nullptr, inputs.logits);
      if (!outputs.ok()) return outputs.status();
      return measure(*outputs, *expected, precision, relative_bound(precision, test.whole_network));
    };
    comparison.report(name, precision_name(precision), result());
  }
}

void compare_passes(Comparison& comparison, const std::string& name, const Graph& graph, const Shape& image) {
  const uint64_t seed = seed_of(comparison.seed, name);
  const auto result = [&]() -> Result<std::vector<Measure>> {
    auto weights = random_weights(graph, seed);
    if (!weights.ok()) return weights.status();
    const Inputs inputs(graph, image, seed + 1);
    auto plain = reference_logits(graph, **weights, image, inputs.view());
    if (!plain.ok()) return plain.status();
    auto optimized = reference_logits(optimize(graph), **weights, image, inputs.view());
    if (!optimized.ok()) return optimized.status();
    std::vector<double> difference(plain->values.size());
    for (size_t i = 0; i < difference.size(); ++i) difference[i] = plain->values[i] - optimized->values[i];
    return std::vector<Measure>{{"logits", root_mean_square(difference) / root_mean_square(plain->values), 1e-12}};
  };
  comparison.report(name, "f64", result());
}

std::string text(const Shape& image) {
  return std::to_string(image.n) + "x" + std::to_string(image.c) + "x" + std::to_string(image.h) + "x" +
         std::to_string(image.w);
}

}  // namespace

Graph NetworkCase::plain() const { return in_mode(graph, mode); }
Graph NetworkCase::optimized() const { return in_mode(optimize(graph), mode); }

void CaseList::add(const std::string& name, const NetworkCase& test, bool quick) {
  cases_.push_back(
      {name + ", " + text(test.image), quick,
       [test](Comparison& comparison, const std::string& full_name) { compare_network(comparison, full_name, test); }});
}

void CaseList::add_random(const std::string& name, const std::function<NetworkCase(uint64_t seed)>& make) {
  cases_.push_back({name, true, [make](Comparison& comparison, const std::string& full_name) {
                      compare_network(comparison, full_name, make(seed_of(comparison.seed, full_name)));
                    }});
}

void CaseList::add_passes(const std::string& name, const Graph& graph, const Shape& image) {
  cases_.push_back({name, true, [graph, image](Comparison& comparison, const std::string& full_name) {
                      compare_passes(comparison, full_name, graph, image);
                    }});
}

}  // namespace deeplab

// Logits, labels and scores of a device, held against float64 and against the CPU backend: every operation in every
// form, and whole networks.

#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "comparison.h"
#include "device_run.h"
#include "graph/deeplab.h"
#include "graph/passes.h"
#include "graph/scales.h"
#include "random_network.h"

namespace deeplab {
namespace {

// What a result must be, to within a bound.
struct Expected {
  std::vector<double> logits;
  ReferenceLabels labels;
  std::vector<uint8_t> cpu_labels;
};

const ModelConfig& config_of(const Graph& graph) { return std::get<Normalize>(graph.nodes[1].op).config; }

struct NetworkCase {
  Graph graph;  // as a builder made it
  Shape image;
  bool whole_network = false;
  bool in_float64 = true;  // else the CPU backend stands in for it, where float64 would take minutes
  InferenceMode mode = {};

  Graph plain() const { return in_mode(graph, mode); }
  Graph optimized() const { return in_mode(optimize(graph), mode); }
};

Result<Expected> expected_of(const Comparison& comparison, const NetworkCase& test,
                             const std::shared_ptr<const Safetensors>& weights, const std::vector<uint8_t>& pixels) {
  const Graph optimized = test.optimized();
  auto network = load_network(*cpu_backend(), weights, comparison.options(Precision::kF32));
  if (!network.ok()) return network.status();
  auto compiled = compile(*network, optimized, test.image);
  if (!compiled.ok()) return compiled.status();
  auto outputs = compiled->run(pixels);
  if (!outputs.ok()) return outputs.status();
  ReferenceTensor logits{compiled->logits, {outputs->logits(), outputs->logits() + compiled->logits.elements()}};
  if (test.in_float64) {
    auto reference = reference_logits(test.plain(), *weights, test.image, {pixels.data(), nullptr, nullptr});
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
  const std::vector<uint8_t> pixels = random_pixels(test.image, seed + 1);
  auto expected = expected_of(comparison, test, *weights, pixels);
  if (!expected.ok()) return comparison.report(name, "", expected.status());
  const Graph optimized = test.optimized();
  for (const Precision precision : comparison.precisions) {
    const auto result = [&]() -> Result<std::vector<Measure>> {
      auto network = load_network(*comparison.device, *weights, comparison.options(precision));
      if (!network.ok()) return network.status();
      auto compiled = compile(*network, optimized, test.image);
      if (!compiled.ok()) return compiled.status();
      auto outputs = compiled->run(pixels);
      if (!outputs.ok()) return outputs.status();
      return measure(*outputs, *expected, precision, relative_bound(precision, test.whole_network));
    };
    comparison.report(name, precision_name(precision), result());
  }
}

// What optimize() makes of a graph computes the same, in float64.
void compare_passes(Comparison& comparison, const std::string& name, const Graph& graph, const Shape& image) {
  const uint64_t seed = seed_of(comparison.seed, name);
  const auto result = [&]() -> Result<std::vector<Measure>> {
    auto weights = random_weights(graph, seed);
    if (!weights.ok()) return weights.status();
    const std::vector<uint8_t> pixels = random_pixels(image, seed + 1);
    auto plain = reference_logits(graph, **weights, image, {pixels.data(), nullptr, nullptr});
    if (!plain.ok()) return plain.status();
    auto optimized = reference_logits(optimize(graph), **weights, image, {pixels.data(), nullptr, nullptr});
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

class CaseList {
 public:
  void add(const std::string& name, const Graph& graph, const Shape& image) { add(name, {graph, image}, true); }
  void add(const std::string& name, const NetworkCase& test, bool quick) {
    cases_.push_back(
        {name + ", " + text(test.image), quick, [test](Comparison& comparison, const std::string& full_name) {
           compare_network(comparison, full_name, test);
         }});
  }
  void add_passes(const std::string& name, const Graph& graph, const Shape& image) {
    cases_.push_back({name, true, [graph, image](Comparison& comparison, const std::string& full_name) {
                        compare_passes(comparison, full_name, graph, image);
                      }});
  }
  std::vector<Case> take() { return std::move(cases_); }

 private:
  std::vector<Case> cases_;
};

constexpr int kClasses = 21;  // enough that even one pixel has a norm that means something
constexpr PaddingRule kRules[] = {PaddingRule::kFloor, PaddingRule::kCeil, PaddingRule::kSame};
constexpr const char* kRuleNames[] = {"floor", "ceil", "same"};

struct ConvCase {
  const char* name;
  int in, out;
  Window window;
};

Graph conv_graph(const ConvCase& test, const NetworkAround::ConvParts& parts) {
  NetworkAround network(plain_config(kClasses));
  const NodeId x = test.in == 3 ? network.input() : network.conv(network.input(), test.in);
  return network.finish(network.conv(x, test.out, test.window, parts));
}

void add_convolutions(CaseList& list) {
  static constexpr PaddingRule kFloor = PaddingRule::kFloor, kCeil = PaddingRule::kCeil, kSame = PaddingRule::kSame;
  const ConvCase kinds[] = {
      {"conv 1x1, 64 -> 33", 64, 33, {1}},
      {"conv 1x1, 3 -> 20", 3, 20, {1}},
      {"conv 1x1, 8 -> 255", 8, 255, {1}},
      {"conv 1x1, 255 -> 8", 255, 8, {1}},
      {"conv 1x1 stride 2, 20 -> 64", 20, 64, {1, 2}},
      {"conv 1x1 stride 2 same, 20 -> 64", 20, 64, {1, 2, 1, 0, kSame}},
      {"conv 3x3, 3 -> 8", 3, 8, {3, 1, 1, 1}},
      {"conv 3x3, 64 -> 64", 64, 64, {3, 1, 1, 1}},
      {"conv 3x3, 21 -> 33", 21, 33, {3, 1, 1, 1}},
      {"conv 3x3 without padding, 8 -> 20", 8, 20, {3, 1, 1, 0}},
      {"conv 3x3 stride 2, 20 -> 21", 20, 21, {3, 2, 1, 1, kFloor}},
      {"conv 3x3 stride 2 ceil, 20 -> 21", 20, 21, {3, 2, 1, 1, kCeil}},
      {"conv 3x3 stride 2 same, 20 -> 21", 20, 21, {3, 2, 1, 1, kSame}},
      {"conv 3x3 same, 8 -> 8", 8, 8, {3, 1, 1, 1, kSame}},
      {"conv 3x3 dilation 2, 64 -> 20", 64, 20, {3, 1, 2, 2}},
      {"conv 3x3 dilation 4, 33 -> 64", 33, 64, {3, 1, 4, 4}},
      {"conv 3x3 dilation 12, 20 -> 21", 20, 21, {3, 1, 12, 12}},
      {"conv 3x3 dilation 24, 20 -> 21", 20, 21, {3, 1, 24, 24}},
      {"conv 3x3 dilation 2 same, 8 -> 33", 8, 33, {3, 1, 2, 2, kSame}},
      {"conv 7x7 stride 2, 3 -> 64", 3, 64, {7, 2, 1, 3, kFloor}},
      {"conv 7x7 stride 2 ceil, 3 -> 64", 3, 64, {7, 2, 1, 3, kCeil}},
      {"conv 7x7 stride 2 same, 3 -> 64", 3, 64, {7, 2, 1, 3, kSame}},
  };
  for (const ConvCase& kind : kinds) {
    for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 16, 20}}) {
      list.add(kind.name, conv_graph(kind, {}), image);
    }
  }
  const ConvCase plain{"", 20, 21, {3, 1, 1, 1}};
  list.add("conv 3x3, no ReLU", conv_graph(plain, {true, false, Activation::kNone}), {1, 3, 13, 11});
  list.add("conv 3x3, bias", conv_graph(plain, {false, true}), {1, 3, 13, 11});
  list.add("conv 3x3, bias, no ReLU", conv_graph(plain, {false, true, Activation::kNone}), {1, 3, 13, 11});
  list.add("conv 3x3, bias and batch norm", conv_graph(plain, {true, true}), {1, 3, 13, 11});
  list.add("conv 3x3, neither", conv_graph(plain, {false, false, Activation::kNone}), {1, 3, 13, 11});
}

// A bottleneck: 1x1, 3x3, 1x1, the residual and ReLU in the last.
Graph residual_graph(int channels, int inner, int rate, int blocks) {
  NetworkAround network(plain_config(kClasses));
  NodeId x = network.conv(network.input(), channels);
  for (int block = 0; block < blocks; ++block) {
    NodeId y = network.conv(x, inner);
    y = network.conv(y, inner, {3, 1, rate, rate});
    x = network.add(network.conv(y, channels, {1}, {true, false, Activation::kNone}), x);
  }
  return network.finish(x);
}

void add_residuals(CaseList& list) {
  list.add("residual, 64 channels", residual_graph(64, 20, 1, 1), {2, 3, 17, 23});
  list.add("residual, 33 channels, dilation 4", residual_graph(33, 8, 4, 1), {1, 3, 16, 20});
  list.add("residual, three in a row", {residual_graph(20, 8, 2, 3), {1, 3, 9, 31}, true}, true);
}

void add_pooling(CaseList& list) {
  for (size_t rule = 0; rule < 3; ++rule) {
    NetworkAround network(plain_config(kClasses));
    const NodeId x = network.conv(network.input(), 20, {1}, {true, false, Activation::kNone});
    const Graph graph = network.finish(network.max_pool(x, {3, 2, 1, 1, kRules[rule]}));
    for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 16, 20}, Shape{1, 3, 1, 2}, Shape{1, 3, 2, 3}}) {
      list.add(std::string("max pool ") + kRuleNames[rule], graph, image);
    }
  }
}

Graph aspp_graph(int channels, const std::vector<int>& rates, int classes) {
  NetworkAround network(plain_config(classes));
  return network.finish(network.conv(network.input(), channels), rates);
}

void add_aspp(CaseList& list) {
  for (const Shape& image : {Shape{1, 3, 33, 41}, Shape{2, 3, 9, 9}, Shape{1, 3, 1, 50}}) {
    list.add("ASPP 6 12 18 24", aspp_graph(64, {6, 12, 18, 24}, 21), image);
    list.add("LargeFOV 12", aspp_graph(64, {12}, 21), image);
  }
  list.add("ASPP 6 12 18 24, 2 classes", aspp_graph(20, {6, 12, 18, 24}, 2), {1, 3, 33, 41});
  list.add("ASPP 2 4, 1 class", aspp_graph(20, {2, 4}, 1), {1, 3, 12, 10});
  list.add("ASPP 1 2, 256 classes", aspp_graph(20, {1, 2}, 256), {1, 3, 12, 10});
  list.add_passes("passes: ASPP as a matrix product", aspp_graph(20, {6, 12, 18, 24}, 3), {1, 3, 33, 41});
  list.add_passes("passes: residual and ReLU", residual_graph(20, 8, 2, 3), {1, 3, 9, 31});
  list.add_passes("passes: bias and batch norm", conv_graph({"", 20, 21, {3, 2, 1, 1}}, {true, true}), {1, 3, 13, 11});
}

Graph input_graph(const ModelConfig& config) {
  NetworkAround network(config);
  return network.finish(network.conv(network.input(), 20, {3, 2, 1, 1}));
}

void add_inputs(CaseList& list) {
  const ModelConfig plain = plain_config(kClasses);
  for (const int channels : {1, 3, 4}) {
    for (const bool bgr : {false, true}) {
      ModelConfig config = plain;
      config.bgr = bgr;
      list.add(bgr ? "input BGR" : "input RGB", input_graph(config), {1, channels, 14, 19});
    }
  }
  ModelConfig caffe = plain;
  caffe.bgr = true, caffe.value_scale = 1, caffe.mean = {104.008f, 116.669f, 122.675f}, caffe.std = {1, 1, 1};
  list.add("input 0..255, BGR", input_graph(caffe), {2, 3, 14, 19});
  ModelConfig fixed = plain;
  fixed.resize = ResizeRule::kFixed, fixed.input_width = 31, fixed.input_height = 22;
  for (const Shape& image : {Shape{1, 3, 14, 19}, Shape{2, 4, 50, 40}, Shape{1, 1, 22, 31}, Shape{1, 3, 1, 1}}) {
    list.add("input resized to 31x22", input_graph(fixed), image);
  }
  ModelConfig longest = plain;
  longest.resize = ResizeRule::kLongest, longest.longest = 33, longest.pad_to_multiple = 8;
  for (const Shape& image : {Shape{1, 3, 14, 19}, Shape{2, 3, 60, 21}, Shape{1, 3, 1, 90}}) {
    list.add("input's longest side 33, padded to 8", input_graph(longest), image);
  }
  ModelConfig padded = plain;
  padded.pad_to_multiple = 16;
  list.add("input padded to 16", input_graph(padded), {3, 3, 17, 33});
  for (const Shape& image : {Shape{1, 3, 1, 1}, Shape{1, 3, 2, 2}, Shape{5, 3, 7, 5}, Shape{1, 3, 3, 200},
                             Shape{1, 3, 200, 3}, Shape{1, 1, 1, 64}, Shape{1, 4, 64, 1}}) {
    list.add("image size", input_graph(plain), image);
  }
}

void add_scales(CaseList& list) {
  ModelConfig padded = plain_config(kClasses);
  padded.pad_to_multiple = 16;
  const auto add = [&](const char* name, const Graph& graph, const Shape& image, const InferenceMode& mode) {
    list.add(name, {graph, image, false, true, mode}, true);
  };
  const Graph plain = input_graph(plain_config(kClasses));
  add("scales 0.5 0.75 1, max", plain, {2, 3, 33, 41}, {{0.5, 0.75, 1}, FuseRule::kMax, false});
  add("scales 1 1.25 0.5, mean", plain, {1, 3, 27, 50}, {{1, 1.25, 0.5}, FuseRule::kMean, false});
  add("mirrored, mean", plain, {1, 4, 30, 31}, {{1}, FuseRule::kMean, true});
  add("scales 0.5 1 2, mirrored, max", input_graph(padded), {1, 1, 19, 30}, {{0.5, 1, 2}, FuseRule::kMax, true});
  add("scales 0.25 1, of one pixel", plain, {1, 3, 1, 1}, {{0.25, 1}, FuseRule::kMean, true});
  add("scales of an ASPP", aspp_graph(20, {2, 4}, 21), {2, 3, 20, 33}, {{0.5, 0.75, 1}, FuseRule::kMax, true});
}

}  // namespace

std::vector<Case> operation_cases() {
  CaseList list;
  add_convolutions(list);
  add_residuals(list);
  add_pooling(list);
  add_aspp(list);
  add_inputs(list);
  add_scales(list);
  return list.take();
}

std::vector<Case> network_cases() {
  CaseList list;
  const auto network = [](const char* backbone, StridePlacement stride, PaddingRule rule, std::vector<int> rates) {
    ModelConfig config = network_config(backbone, 21, rates);
    config.stride_placement = stride;
    config.pool_padding = rule;
    config.stem_padding = rule == PaddingRule::kSame ? rule : PaddingRule::kFloor;
    return build_deeplab(config);
  };
  const std::vector<int> aspp = {6, 12, 18, 24};
  constexpr auto kFloor = PaddingRule::kFloor, kCeil = PaddingRule::kCeil, kSame = PaddingRule::kSame;
  constexpr auto k1x1 = StridePlacement::k1x1, k3x3 = StridePlacement::k3x3;
  list.add("ResNet-50 floor", {network("resnet50", k3x3, kFloor, aspp), {1, 3, 33, 33}, true}, true);
  list.add("ResNet-50 same, LargeFOV", {network("resnet50", k1x1, kSame, {12}), {2, 3, 17, 24}, true}, true);
  list.add("ResNet-101 ceil", {network("resnet101", k1x1, kCeil, aspp), {1, 3, 17, 23}, true}, true);
  list.add(
      "ResNet-50 at scales 0.5 0.75 1",
      {network("resnet50", k3x3, kFloor, aspp), {1, 3, 33, 41}, true, true, {{0.5, 0.75, 1}, FuseRule::kMax, false}},
      true);
  list.add("ResNet-50 floor", {network("resnet50", k3x3, kFloor, aspp), {5, 4, 65, 48}, true}, false);
  list.add("ResNet-50 ceil, LargeFOV", {network("resnet50", k1x1, kCeil, {12}), {1, 1, 129, 33}, true}, false);
  list.add("ResNet-101 same", {network("resnet101", k3x3, kSame, aspp), {2, 3, 64, 97}, true}, false);
  list.add("ResNet-101 floor", {network("resnet101", k3x3, kFloor, aspp), {1, 3, 129, 97}, true}, false);
  list.add("ResNet-101 ceil against the CPU", {network("resnet101", k1x1, kCeil, aspp), {1, 3, 513, 513}, true, false},
           false);
  return list.take();
}

}  // namespace deeplab

// Every operation in every form, in a network around it.

#include <array>
#include <cstdlib>

#include "network_comparison.h"
#include "random_network.h"

namespace deeplab {
namespace {

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
  const ConvCase even[] = {
      {"conv 4x4 dilation 2", 20, 21, {4, 1, 2, 3}},
      {"conv 4x4 dilation 4", 64, 20, {4, 1, 4, 6}},
      {"conv 4x4 dilation 8", 20, 64, {4, 1, 8, 12}},
      {"conv 7x7 dilation 4", 20, 21, {7, 1, 4, 12}},
  };
  for (const ConvCase& kind : even) {
    for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 5, 4}})
      list.add(kind.name, conv_graph(kind, {}), image);
  }
  list.add("conv 3x3, ReLU6", conv_graph(plain, {true, false, Activation::kRelu6}), {2, 3, 13, 11});
  list.add("conv 3x3, bias, ReLU6", conv_graph(plain, {false, true, Activation::kRelu6}), {1, 3, 13, 11});
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

Graph pool_graph(int channels, bool average, const Window& window) {
  NetworkAround network(plain_config(kClasses));
  const NodeId x = network.conv(network.input(), channels, {1}, {true, false, Activation::kNone});
  return network.finish(average ? network.average_pool(x, window) : network.max_pool(x, window));
}

void add_other_pooling(CaseList& list) {
  for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 2, 1}}) {
    list.add("max pool stride 1", pool_graph(33, false, {3, 1, 1, 1}), image);
    list.add("max pool stride 1 ceil", pool_graph(20, false, {3, 1, 1, 1, PaddingRule::kCeil}), image);
    list.add("max pool 1x1 stride 2", pool_graph(20, false, {1, 2}), image);
    list.add("average pool", pool_graph(20, true, {3, 1, 1, 1}), image);
    list.add("average pool, 64 channels", pool_graph(64, true, {3, 1, 1, 1}), image);
  }
  for (const int channels : {8, 33, 80}) {
    for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{3, 3, 1, 1}, Shape{1, 3, 30, 31}}) {
      NetworkAround network(plain_config(kClasses));
      const NodeId mean = network.global_average_pool(network.conv(network.input(), channels));
      list.add("global average pool, " + std::to_string(channels) + " channels", network.finish(mean), image);
    }
  }
}

// Each channel of an image by itself, or of features.
void add_depthwise(CaseList& list) {
  static constexpr PaddingRule kFloor = PaddingRule::kFloor, kCeil = PaddingRule::kCeil, kSame = PaddingRule::kSame;
  struct Kind {
    const char* name;
    int channels;
    Window window;
    NetworkAround::ConvParts parts;
  };
  const auto parts = [](bool batch_norm, Activation activation) {
    return NetworkAround::ConvParts{batch_norm, !batch_norm, activation, true};
  };
  const auto relu6 = parts(true, Activation::kRelu6), relu = parts(true, Activation::kRelu);
  const Kind kinds[] = {
      {"depthwise 3x3, 64 channels", 64, {3, 1, 1, 1}, relu6},
      {"depthwise 3x3, 33 channels", 33, {3, 1, 1, 1}, relu6},
      {"depthwise 3x3 of the image", 3, {3, 1, 1, 1}, relu},
      {"depthwise 3x3 stride 2 floor, 20 channels", 20, {3, 2, 1, 1, kFloor}, relu6},
      {"depthwise 3x3 stride 2 ceil, 20 channels", 20, {3, 2, 1, 1, kCeil}, relu},
      {"depthwise 3x3 stride 2 same, 20 channels", 20, {3, 2, 1, 1, kSame}, relu6},
      {"depthwise 3x3 dilation 2, 20 channels", 20, {3, 1, 2, 2}, relu6},
      {"depthwise 3x3 dilation 4 same, 64 channels", 64, {3, 1, 4, 4, kSame}, relu6},
      {"depthwise 3x3 dilation 12, 20 channels", 20, {3, 1, 12, 12}, relu6},
      {"depthwise 3x3, bias, no ReLU", 40, {3, 1, 1, 1}, parts(false, Activation::kNone)},
      {"depthwise 3x3, bias, ReLU6", 40, {3, 1, 1, 1}, parts(false, Activation::kRelu6)},
      {"depthwise 5x5 stride 2, 20 channels", 20, {5, 2, 1, 2}, relu},
      {"depthwise 1x1, 20 channels", 20, {1}, relu},
  };
  for (const Kind& kind : kinds) {
    NetworkAround network(plain_config(kClasses));
    const NodeId x = kind.channels == 3 ? network.input() : network.conv(network.input(), kind.channels);
    const Graph graph = network.finish(network.conv(x, kind.channels, kind.window, kind.parts));
    for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 2, 20}}) list.add(kind.name, graph, image);
  }
}

// ReLU6 that depthwise convolutions read, alone or with others.
void add_relu6_readers(CaseList& list) {
  const NetworkAround::ConvParts relu6{true, false, Activation::kRelu6},
      depthwise{true, false, Activation::kRelu6, true};
  for (const bool others : {false, true}) {
    NetworkAround network(plain_config(kClasses));
    const NodeId x = network.conv(network.input(), 20, {1}, relu6);
    const NodeId y = network.conv(x, 20, {3, 1, 1, 1}, depthwise), z = network.conv(x, 20, {3, 1, 2, 2}, depthwise);
    const NodeId sum = network.concat(others ? std::vector<NodeId>{y, z, x} : std::vector<NodeId>{y, z});
    list.add(others ? "ReLU6, read by all kinds" : "ReLU6, read by depthwise", network.finish(sum), {2, 3, 17, 23});
  }
  NetworkAround network(plain_config(kClasses));
  const NodeId x = network.conv(network.input(), 20, {1}, relu6);
  const NodeId y =
      network.conv(network.conv(x, 20, {3, 1, 1, 1}, depthwise), 20, {1}, {true, false, Activation::kNone});
  list.add("ReLU6, a shortcut", network.finish(network.add(y, x, Activation::kRelu6)), {2, 3, 17, 23});
}

// Branches of these numbers of channels; a negative one is the mean over the image.
Graph concat_graph(const std::vector<int>& channels) {
  NetworkAround network(plain_config(kClasses));
  const NodeId x = network.conv(network.input(), 20);
  std::vector<NodeId> branches;
  for (const int count : channels) {
    branches.push_back(network.conv(count < 0 ? network.global_average_pool(x) : x, std::abs(count)));
  }
  return network.finish(network.concat(branches));
}

void add_concat(CaseList& list) {
  for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{3, 3, 1, 1}, Shape{1, 3, 1, 9}}) {
    list.add("concat 16 64 8", concat_graph({16, 64, 8}), image);
    list.add("concat 20 33 8", concat_graph({20, 33, 8}), image);
    list.add("concat 7 1 64", concat_graph({7, 1, 64}), image);
    list.add("concat 16 16 and one pixel of 16", concat_graph({16, 16, -16}), image);
    list.add("concat 13, one pixel of 20, 9, one pixel of 3", concat_graph({13, -20, 9, -3}), image);
    list.add("concat of one pixel each", concat_graph({-4, -8}), image);
    list.add("concat of one", concat_graph({20}), image);
  }
}

// Several logits of one image, of different grids if `coarse`.
Graph fuse_graph(FuseRule rule, int count, bool coarse) {
  NetworkAround network(plain_config(kClasses));
  const NodeId x = network.conv(network.input(), 20);
  const NodeId pooled = network.max_pool(x, {3, 2, 1, 1});
  std::vector<NodeId> logits;
  for (int i = 0; i < count; ++i) logits.push_back(network.logits(coarse && i % 2 == 1 ? pooled : x));
  return network.finish_logits(network.fuse(rule, logits));
}

void add_fused_logits(CaseList& list) {
  for (const Shape& image : {Shape{2, 3, 17, 23}, Shape{1, 3, 1, 1}}) {
    list.add("logits' sum", fuse_graph(FuseRule::kSum, 3, false), image);
    list.add("logits' sum, 16 branches", fuse_graph(FuseRule::kSum, 16, false), image);
    list.add("logits' mean", fuse_graph(FuseRule::kMean, 3, false), image);
    list.add("logits' maximum", fuse_graph(FuseRule::kMax, 3, false), image);
    list.add("logits' sum, two grids", fuse_graph(FuseRule::kSum, 4, true), image);
    list.add("logits' mean, two grids", fuse_graph(FuseRule::kMean, 3, true), image);
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

constexpr Upsample kUpsamples[] = {Upsample::kHalfPixel, Upsample::kAlignCorners, Upsample::kAsymmetric};
constexpr const char* kUpsampleNames[] = {"half-pixel", "align corners", "asymmetric"};

// The head alone, and behind layers that it has the geometry of.
void add_heads(CaseList& list) {
  for (size_t rule = 0; rule < 3; ++rule) {
    const std::string name = std::string("head ") + kUpsampleNames[rule];
    ModelConfig plain = plain_config(kClasses);
    plain.upsample = kUpsamples[rule];
    ModelConfig padded = plain;
    padded.pad_to_multiple = 16;
    ModelConfig fixed = plain;
    fixed.resize = ResizeRule::kFixed, fixed.input_width = 31, fixed.input_height = 22;
    ModelConfig longest = padded;
    longest.resize = ResizeRule::kLongest, longest.longest = 33;
    for (const Shape& image : {Shape{2, 3, 33, 41}, Shape{1, 4, 9, 30}, Shape{1, 3, 1, 1}}) {
      list.add(name, input_graph(plain), image);
      list.add(name + ", padded to 16", input_graph(padded), image);
      list.add(name + ", resized to 31x22", input_graph(fixed), image);
      list.add(name + ", longest side 33, padded to 16", input_graph(longest), image);
      list.add(name + ", given 5x7", given_graph(plain, 5, 7), image);
      list.add(name + ", given 1x1", given_graph(plain, 1, 1), image);
      list.add(name + ", given 40x33, resized to 31x22", given_graph(fixed, 40, 33), image);
    }
  }
  ModelConfig one = plain_config(1), many = plain_config(256);
  list.add("head, 1 class, given 5x7", given_graph(one, 5, 7), {2, 3, 20, 33});
  list.add("head, 256 classes, given 5x7", given_graph(many, 5, 7), {2, 1, 20, 33});
}

// A network of layers that are drawn from the seed.
NetworkCase random_case(uint64_t seed) {
  Random random(seed);
  const auto up_to = [&](int most) { return 1 + static_cast<int>(random.unit() * static_cast<float>(most)); };
  ModelConfig config = plain_config(kClasses);
  config.upsample = kUpsamples[up_to(3) - 1];
  config.pad_to_multiple = up_to(9);
  NetworkAround network(config);
  const auto activation = [&] {
    return std::array{Activation::kNone, Activation::kRelu, Activation::kRelu6}[up_to(3) - 1];
  };
  const auto window = [&] {
    const int dilation = up_to(3), kernel = 2 * up_to(2) - 1;
    return Window{kernel, up_to(2), dilation, dilation * (kernel / 2), kRules[up_to(3) - 1]};
  };
  NodeId x = network.conv(network.input(), up_to(40), {3, 2, 1, 1});
  for (int layer = up_to(5); layer > 0; --layer) {
    switch (up_to(5)) {
      case 1: x = network.conv(x, up_to(40), window(), {random.unit() < 0.5f, true, activation()}); break;
      case 2: x = network.conv(x, network.channels(x), window(), {true, false, activation(), true}); break;
      case 3: x = network.average_pool(x, {3, 1, 1, 1}); break;
      case 4: {
        NodeId y = network.conv(x, up_to(80), {}, {true, false, Activation::kRelu6});
        y = network.conv(y, network.channels(y), {3, 1, 2, 2}, {true, false, Activation::kRelu6, true});
        x = network.add(network.conv(y, network.channels(x), {}, {true, false, Activation::kNone}), x, activation());
        break;
      }
      default: {
        const NodeId mean = network.conv(network.global_average_pool(x), up_to(20));
        x = network.concat({network.conv(x, up_to(20)), mean, network.conv(x, up_to(20), {3, 1, 2, 2})});
      }
    }
  }
  std::vector<NodeId> logits = {network.logits(x, {2, 4}), network.logits(x)};
  const FuseRule rule = std::array{FuseRule::kMax, FuseRule::kMean, FuseRule::kSum}[up_to(3) - 1];
  const Graph graph = network.finish_logits(random.unit() < 0.5f ? logits[0] : network.fuse(rule, logits));
  return {graph, {up_to(3), 3, up_to(30), up_to(30)}, true};
}

void add_random(CaseList& list) {
  for (int i = 1; i <= 12; ++i) list.add_random("random network " + std::to_string(i), random_case);
}

}  // namespace

std::vector<Case> operation_cases() {
  CaseList list;
  add_convolutions(list);
  add_residuals(list);
  add_pooling(list);
  add_other_pooling(list);
  add_depthwise(list);
  add_relu6_readers(list);
  add_concat(list);
  add_fused_logits(list);
  add_aspp(list);
  add_inputs(list);
  add_scales(list);
  add_heads(list);
  add_random(list);
  return list.take();
}

}  // namespace deeplab

// Every member of the family as a whole, from small images. Heads have few channels, to be quick.

#include "graph/deeplab.h"
#include "network_comparison.h"
#include "random_network.h"

namespace deeplab {
namespace {

constexpr int kClasses = 21;
constexpr auto kFloor = PaddingRule::kFloor, kCeil = PaddingRule::kCeil, kSame = PaddingRule::kSame;

void add_v2_resnets(CaseList& list) {
  const auto network = [](const char* backbone, StridePlacement stride, PaddingRule rule, std::vector<int> rates) {
    ModelConfig config = network_config(backbone, kClasses, rates);
    config.stride_placement = stride;
    config.pool_padding = rule;
    config.stem_padding = rule == kSame ? rule : kFloor;
    return build_deeplab(config);
  };
  const std::vector<int> aspp = {6, 12, 18, 24};
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
}

void add_vggs(CaseList& list) {
  const auto network = [](int kernel, bool pool5a, PaddingRule rule, const std::vector<int>& rates) {
    ModelConfig config = network_config("vgg16", kClasses, rates);
    config.head_channels = 16;
    config.fc6_kernel = kernel;
    config.pool5a = pool5a;
    config.pool_padding = rule;
    config.upsample = Upsample::kAlignCorners;
    return build_deeplab(config);
  };
  list.add("VGG-16 LargeFOV 3x3, pool5a, ceil", {network(3, true, kCeil, {12}), {1, 3, 33, 41}, true}, true);
  list.add("VGG-16 4x4 rate 4, pool5a, floor", {network(4, true, kFloor, {4}), {2, 3, 17, 23}, true}, true);
  list.add("VGG-16 4x4 rate 8, ceil", {network(4, false, kCeil, {8}), {1, 3, 25, 20}, true}, false);
  list.add("VGG-16 7x7 rate 4, same", {network(7, false, kSame, {4}), {1, 3, 25, 20}, true}, true);
  list.add("VGG-16 ASPP, ceil", {network(3, false, kCeil, {6, 12, 18, 24}), {1, 3, 33, 41}, true}, true);
  list.add("VGG-16 ASPP, ceil, at scales 0.5 1",
           {network(3, false, kCeil, {6, 12}), {1, 3, 24, 30}, true, true, {{0.5, 1}, FuseRule::kMean, true}}, false);
  list.add("VGG-16 ASPP, ceil", {network(3, false, kCeil, {6, 12, 18, 24}), {2, 3, 97, 65}, true}, false);
}

// DeepLab v3 with image pooling, from 1/16.
ModelConfig v3_config(const char* backbone, const std::vector<int>& rates) {
  ModelConfig config = network_config(backbone, kClasses, rates, "deeplab_v3");
  config.head_channels = 16;
  config.output_stride = 16;
  return config;
}

void add_v3_resnets(CaseList& list) {
  const auto add = [&](const std::string& name, const ModelConfig& config, const Shape& image, bool quick) {
    list.add("v3 ResNet" + name, {build_deeplab(config), image, true}, quick);
  };
  ModelConfig config = v3_config("resnet50", {6, 12, 18});
  add("-50, stride 16", config, {1, 3, 49, 33}, true);
  config.batch_norm = false;
  add("-50, stride 16, folded", config, {1, 3, 33, 40}, true);
  config.batch_norm = true, config.image_pooling = false;
  add("-50, stride 16, no image pooling", config, {1, 3, 33, 40}, false);

  ModelConfig grid = v3_config("resnet50", {12, 24, 36});
  grid.output_stride = 8, grid.multi_grid = {1, 2, 4}, grid.head_channels = 20;
  add("-50, stride 8, multi-grid 1 2 4", grid, {2, 3, 33, 25}, true);
  grid.backbone = "resnet101";
  add("-101, stride 8, multi-grid 1 2 4", grid, {1, 3, 17, 25}, false);
  add("-101, stride 8, multi-grid 1 2 4", grid, {2, 3, 97, 65}, false);

  ModelConfig torchvision = v3_config("resnet50", {12, 24, 36});
  torchvision.output_stride = 8, torchvision.dilate_first_unit = false, torchvision.head_conv = true;
  add("-50 as torchvision has it", torchvision, {1, 3, 33, 40}, true);

  ModelConfig slim = v3_config("resnet50", {6, 12, 18});
  slim.stride_unit = StrideUnit::kLast, slim.upsample = Upsample::kAlignCorners;
  slim.stem_padding = slim.pool_padding = kSame;
  add("-50 as TensorFlow has it", slim, {1, 3, 33, 41}, true);
  slim.output_stride = 8, slim.multi_grid = {1, 2, 1}, slim.batch_norm = false;
  add("-50 as TensorFlow has it, stride 8, folded", slim, {1, 3, 30, 25}, true);

  for (int blocks = 1; blocks <= 3; ++blocks) {
    ModelConfig cascade = v3_config("resnet50", {});
    cascade.aspp_fusion = AsppFusion::kNone, cascade.cascade_blocks = blocks, cascade.multi_grid = {1, 2, 1};
    cascade.output_stride = blocks == 2 ? 8 : 16;
    cascade.stride_unit = blocks == 3 ? StrideUnit::kLast : StrideUnit::kFirst;
    add("-50, cascade " + std::to_string(blocks), cascade, {1, 3, 33, 28}, blocks != 2);
  }
}

void add_mobilenets(CaseList& list) {
  const auto add = [&](const std::string& name, const ModelConfig& config, const Shape& image, bool quick) {
    list.add("MobileNetV2" + name, {build_deeplab(config), image, true}, quick);
  };
  ModelConfig config = v3_config("mobilenet_v2", {});
  add(", stride 16", config, {1, 3, 33, 49}, true);
  config.stem_padding = kSame, config.upsample = Upsample::kAlignCorners;
  add(", stride 16, same", config, {2, 3, 34, 49}, true);
  config.batch_norm = false;
  add(", stride 16, same, folded", config, {1, 3, 33, 48}, true);
  ModelConfig half = v3_config("mobilenet_v2", {6, 12});
  half.output_stride = 8, half.width_multiplier = 0.5f, half.channel_divisor = 1;
  half.upsample = Upsample::kAsymmetric;
  add(" of half the width, stride 8, rates 6 12", half, {1, 3, 33, 41}, true);
  half.width_multiplier = 0.35f, half.channel_divisor = 8, half.head_channels = 9;
  add(" of a third of the width, stride 8, rates 6 12", half, {2, 3, 17, 9}, true);
  ModelConfig scales = v3_config("mobilenet_v2", {4, 8});
  list.add("MobileNetV2 at scales 0.5 1, mirrored",
           {build_deeplab(scales), {1, 3, 33, 41}, true, true, {{0.5, 1}, FuseRule::kMean, true}}, true);
  add(", stride 16", config, {4, 3, 129, 97}, false);
}

}  // namespace

std::vector<Case> network_cases() {
  CaseList list;
  add_v2_resnets(list);
  add_vggs(list);
  add_v3_resnets(list);
  add_mobilenets(list);
  return list.take();
}

}  // namespace deeplab

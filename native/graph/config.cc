#include "graph/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace deeplab {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else if (c != ' ' || !parts.back().empty()) {  // spaces after a separator do not count
      parts.back() += c;
    }
  }
  return parts;
}

bool parse_int(const std::string& text, int min, int max, int* value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return failure == std::errc() && end == text.data() + text.size() && *value >= min && *value <= max;
}

bool parse_float(const std::string& text, float* value) {
  char* end = nullptr;
  *value = std::strtof(text.c_str(), &end);
  return !text.empty() && *end == '\0' && std::isfinite(*value);
}

// Reads keys one by one and remembers the first complaint, so that parse_config reads as a list of the keys.
class Reader {
 public:
  explicit Reader(const std::map<std::string, std::string>& metadata) : metadata_(metadata) {}

  // The value of `key`; a required key has no `otherwise`.
  std::string text(const char* key, const char* otherwise = nullptr) {
    const auto found = metadata_.find(key);
    if (found != metadata_.end()) return found->second;
    if (otherwise == nullptr && status_.ok()) {
      status_ = error(Code::kUnsupportedModel, "the weights' metadata has no '", key, "'");
    }
    return otherwise == nullptr ? "" : otherwise;
  }

  // The index of the value among `choices`.
  size_t choice(const char* key, const std::vector<std::string>& choices, const char* otherwise = nullptr) {
    const std::string value = text(key, otherwise);
    std::string list;
    for (size_t i = 0; i < choices.size(); ++i) {
      if (value == choices[i]) return i;
      list += (i == 0 ? "'" : ", '") + choices[i] + "'";
    }
    refuse(key, list);
    return 0;
  }

  // Integers separated by commas. No text is no integers, where that is what a missing key means.
  std::vector<int> integers(const char* key, int min, int max, const char* otherwise = nullptr) {
    std::vector<int> values;
    const std::string given = text(key, otherwise);
    if (given.empty() && otherwise != nullptr && *otherwise == '\0') return values;
    for (const std::string& part : split(given, ',')) {
      int value = 0;
      if (!parse_int(part, min, max, &value)) {
        refuse(key, "integers from " + std::to_string(min) + " to " + std::to_string(max));
        return {min};
      }
      values.push_back(value);
    }
    return values;
  }

  int integer(const char* key, int min, int max, const char* otherwise = nullptr) {
    const auto values = integers(key, min, max, otherwise);
    if (values.size() == 1) return values[0];
    refuse(key, "one integer from " + std::to_string(min) + " to " + std::to_string(max));
    return min;
  }

  bool yes(const char* key, const char* otherwise) { return choice(key, {"no", "yes"}, otherwise) == 1; }

  float number(const char* key, float min, float max, const char* otherwise) {
    float value = 0;
    if (parse_float(text(key, otherwise), &value) && value >= min && value <= max) return value;
    std::ostringstream range;
    range << "a number from " << min << " to " << max;
    refuse(key, range.str());
    return min;
  }

  std::array<float, 3> triple(const char* key) {
    std::array<float, 3> values{};
    const auto parts = split(text(key), ',');
    bool good = parts.size() == 3;
    for (size_t i = 0; good && i < 3; ++i) good = parse_float(parts[i], &values[i]);
    if (!good) refuse(key, "three numbers");
    return values;
  }

  // As many positive numbers as there are names.
  std::vector<float> positives(const char* key, const std::vector<std::string>& names, const char* otherwise) {
    const auto parts = split(text(key, otherwise), ',');
    std::vector<float> values(names.size());
    bool good = parts.size() == names.size();
    for (size_t i = 0; good && i < names.size(); ++i) good = parse_float(parts[i], &values[i]) && values[i] > 0;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ",") + name;
    if (!good) refuse(key, list + ", positive numbers");
    return values;
  }

  void refuse(const char* key, const std::string& expected) {
    if (!status_.ok()) return;
    const auto found = metadata_.find(key);
    status_ = error(Code::kUnsupportedModel, "the weights' metadata has ", key, " '",
                    found == metadata_.end() ? "" : found->second, "', expected ", expected);
  }

  Status status() const { return status_; }

 private:
  const std::map<std::string, std::string>& metadata_;
  Status status_;
};

constexpr int kMostRate = 512;

void read_resnet(Reader& reader, ModelConfig& config) {
  config.stride_placement =
      reader.choice("stride_placement", {"1x1", "3x3"}) == 0 ? StridePlacement::k1x1 : StridePlacement::k3x3;
  config.stride_unit =
      reader.choice("stride_unit", {"first", "last"}, "first") == 0 ? StrideUnit::kFirst : StrideUnit::kLast;
  config.dilate_first_unit = reader.choice("dilation_start", {"first", "second"}, "first") == 0;
  if (config.architecture != "deeplab_v3") return;
  const auto multi_grid = reader.integers("multi_grid", 1, 64, "1,1,1");
  if (multi_grid.size() == config.multi_grid.size()) {
    std::copy(multi_grid.begin(), multi_grid.end(), config.multi_grid.begin());
  } else {
    reader.refuse("multi_grid", "three integers");
  }
  config.cascade_blocks = reader.integer("cascade_blocks", 0, 3, "0");
}

void read_vgg(Reader& reader, ModelConfig& config) {
  config.head_channels = reader.integer("head_channels", 1, 8192, "1024");
  config.fc6_kernel = reader.choice("fc6_kernel", {"3", "4", "7"}, "3") == 0 ? 3 : reader.integer("fc6_kernel", 4, 7);
  config.pool5a = reader.choice("pool5a", {"none", "average"}, "none") == 1;
  constexpr size_t kMostBranches = 16;  // as many logits as a backend fuses
  if (config.aspp_rates.size() > kMostBranches) reader.refuse("aspp_rates", "at most 16 rates");
  for (const int rate : config.aspp_rates) {
    if (config.fc6_kernel % 2 == 0 && rate % 2 != 0) reader.refuse("aspp_rates", "even rates for a 4x4 fc6");
  }
}

void read_v3_head(Reader& reader, ModelConfig& config) {
  config.head_channels = reader.integer("head_channels", 1, 8192, "256");
  config.image_pooling = reader.yes("image_pooling", "yes");
  config.head_conv = reader.choice("head_conv", {"none", "3x3"}, "none") == 1;
}

// What the network is: docs/weights.md's first table.
void read_network(Reader& reader, ModelConfig& config) {
  const bool v3 = reader.choice("architecture", {"deeplab_v1", "deeplab_v2", "deeplab_v3"}) == 2;
  config.architecture = reader.text("architecture");
  config.backbone = reader.text("backbone");
  const bool vgg = config.backbone == "vgg16", mobilenet = config.backbone == "mobilenet_v2";
  if (config.architecture == "deeplab_v1") {
    reader.choice("backbone", {"vgg16"});
  } else if (v3) {
    reader.choice("backbone", {"resnet50", "resnet101", "mobilenet_v2"});
  } else {
    reader.choice("backbone", {"vgg16", "resnet50", "resnet101"});
  }
  config.output_stride = vgg || reader.choice("output_stride", {"8", "16"}, "8") == 0 ? 8 : 16;
  if (vgg) reader.choice("output_stride", {"8"}, "8");

  config.aspp_rates = reader.integers("aspp_rates", 1, kMostRate, v3 ? "" : nullptr);
  if (v3) {
    config.aspp_fusion =
        reader.choice("aspp_fusion", {"concat", "none"}, "concat") == 0 ? AsppFusion::kConcat : AsppFusion::kNone;
    read_v3_head(reader, config);
  } else {
    reader.choice("aspp_fusion", {"sum"}, "sum");
  }
  if (vgg) {
    read_vgg(reader, config);
  } else if (mobilenet) {
    config.width_multiplier = reader.number("width_multiplier", 0.1f, 2, "1");
    config.channel_divisor = reader.integer("channel_divisor", 1, 64, "8");
  } else {
    read_resnet(reader, config);
  }

  config.batch_norm = !vgg && reader.choice("batch_norm", {"yes", "folded"}, "yes") == 0;
  const std::string eps = reader.text("bn_eps", "1e-5");
  config.bn_eps = reader.number("bn_eps", 0, 1, "1e-5");
  config.head_bn_eps = reader.number("head_bn_eps", 0, 1, eps.c_str());
  config.stem_padding =
      reader.choice("stem_padding", {"3", "same"}, "3") == 0 ? PaddingRule::kFloor : PaddingRule::kSame;
  constexpr PaddingRule kPoolRules[] = {PaddingRule::kFloor, PaddingRule::kCeil, PaddingRule::kSame};
  config.pool_padding = kPoolRules[reader.choice(
      "max_pool",
      {"kernel 3, stride 2, padding 1, floor", "kernel 3, stride 2, padding 1, ceil", "kernel 3, stride 2, same"},
      "kernel 3, stride 2, padding 1, floor")];
  constexpr Upsample kUpsamples[] = {Upsample::kHalfPixel, Upsample::kAlignCorners, Upsample::kAsymmetric};
  config.upsample = kUpsamples[reader.choice("upsample", {"half_pixel", "align_corners", "asymmetric"}, "half_pixel")];
}

void read_resize(Reader& reader, ModelConfig& config) {
  const char* kKey = "input_size";
  const std::string value = reader.text(kKey, "any");
  constexpr int kMaxSide = 1 << 15;
  if (value == "any") return;
  bool good = false;
  if (value.rfind("longest ", 0) == 0) {
    config.resize = ResizeRule::kLongest;
    good = parse_int(value.substr(8), 1, kMaxSide, &config.longest);
  } else if (const auto sides = split(value, 'x'); sides.size() == 2) {
    config.resize = ResizeRule::kFixed;
    good =
        parse_int(sides[0], 1, kMaxSide, &config.input_width) && parse_int(sides[1], 1, kMaxSide, &config.input_height);
  }
  if (!good) reader.refuse(kKey, "'any', 'WIDTHxHEIGHT' or 'longest SIDE'");
}

void read_classes(Reader& reader, ModelConfig& config) {
  config.classes = split(reader.text("classes"), ',');
  if (config.classes.size() > kMaxClasses) reader.refuse("classes", "at most 256 names");
  const std::string palette = reader.text("palette", "");
  if (palette.empty()) return;
  for (const std::string& color : split(palette, ';')) {
    const auto parts = split(color, ',');
    std::array<uint8_t, 3> rgb{};
    bool good = parts.size() == 3;
    for (size_t i = 0; good && i < 3; ++i) {
      int value = 0;
      good = parse_int(parts[i], 0, 255, &value);
      rgb[i] = static_cast<uint8_t>(value);
    }
    if (!good) return reader.refuse("palette", "r,g,b;r,g,b;... of 0 to 255");
    config.palette.push_back(rgb);
  }
  if (config.palette.size() != config.classes.size()) reader.refuse("palette", "one colour for each class");
}

// The published ones of the network where the file has none (arXiv 1606.00915; v1: 1412.7062).
void read_crf(Reader& reader, ModelConfig& config) {
  const bool vgg = config.backbone == "vgg16", v1 = config.architecture == "deeplab_v1";
  const char* published_bilateral = v1 ? "4,49,5" : vgg ? "4,65,3" : "4,67,3";
  const char* published_gaussian = v1 ? "3,3" : vgg ? "2,2" : "3,1";
  const auto bilateral = reader.positives("crf_bilateral", {"weight", "xy", "rgb"}, published_bilateral);
  const auto gaussian = reader.positives("crf_gaussian", {"weight", "xy"}, published_gaussian);
  CrfTerm position;
  position.compatibility = {gaussian[0]};
  position.deviations = {gaussian[1], gaussian[1]};
  CrfTerm appearance;
  appearance.kernel = CrfKernel::kBilateral;
  appearance.dimensions = 5;
  appearance.compatibility = {bilateral[0]};
  appearance.deviations = {bilateral[1], bilateral[1], bilateral[2], bilateral[2], bilateral[2]};
  config.crf.model.terms = {appearance, position};
  config.crf.inference.iterations = reader.integer("crf_iterations", 0, 10000, "10");
}

}  // namespace

Result<ModelConfig> parse_config(const std::map<std::string, std::string>& metadata) {
  Reader reader(metadata);
  ModelConfig config;
  config.metadata = metadata;

  read_network(reader, config);
  read_classes(reader, config);
  config.bgr = reader.choice("channel_order", {"rgb", "bgr"}) == 1;
  config.value_scale = reader.choice("value_range", {"0..1", "0..255"}) == 0 ? 1.0f / 255.0f : 1.0f;
  config.mean = reader.triple("mean");
  config.std = reader.triple("std");
  for (const float deviation : config.std) {
    if (!(deviation > 0)) reader.refuse("std", "three positive numbers");
  }
  read_resize(reader, config);
  read_crf(reader, config);
  config.pad_to_multiple = reader.integer("pad_to_multiple", 1, 1024, "1");

  if (!reader.status().ok()) return reader.status();
  return config;
}

Status set_output_stride(ModelConfig& config, int output_stride) {
  if (output_stride == config.output_stride) return Status();
  if (config.backbone == "vgg16" || (output_stride != 8 && output_stride != 16)) {
    return error(Code::kInvalidArgument, "Expected ", config.backbone == "vgg16" ? "8" : "8 or 16",
                 " for the output stride of ", config.backbone, " but received ", output_stride);
  }
  for (int& rate : config.aspp_rates) {
    if (rate * config.output_stride % output_stride != 0) {
      return error(Code::kInvalidArgument, "Expected even ASPP rates to change the output stride from ",
                   config.output_stride, " to ", output_stride, ", received ", rate);
    }
    rate = rate * config.output_stride / output_stride;
  }
  config.output_stride = output_stride;
  return Status();
}

}  // namespace deeplab

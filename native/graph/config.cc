#include "graph/config.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

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

  std::vector<int> integers(const char* key, int min, int max, const char* otherwise = nullptr) {
    std::vector<int> values;
    for (const std::string& part : split(text(key, otherwise), ',')) {
      int value = 0;
      if (!parse_int(part, min, max, &value)) {
        refuse(key, "integers from " + std::to_string(min) + " to " + std::to_string(max));
        return {min};
      }
      values.push_back(value);
    }
    return values;
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

// The published ones of DeepLab v2 with ResNet-101 (arXiv 1606.00915) where the file has none.
void read_crf(Reader& reader, ModelConfig& config) {
  const auto bilateral = reader.positives("crf_bilateral", {"weight", "xy", "rgb"}, "4,67,3");
  const auto gaussian = reader.positives("crf_gaussian", {"weight", "xy"}, "3,1");
  CrfTerm position;
  position.compatibility = {gaussian[0]};
  position.deviations = {gaussian[1], gaussian[1]};
  CrfTerm appearance;
  appearance.kernel = CrfKernel::kBilateral;
  appearance.dimensions = 5;
  appearance.compatibility = {bilateral[0]};
  appearance.deviations = {bilateral[1], bilateral[1], bilateral[2], bilateral[2], bilateral[2]};
  config.crf.model.terms = {appearance, position};
  config.crf.inference.iterations = reader.integers("crf_iterations", 0, 10000, "10")[0];
}

}  // namespace

Result<ModelConfig> parse_config(const std::map<std::string, std::string>& metadata) {
  Reader reader(metadata);
  ModelConfig config;
  config.metadata = metadata;

  config.architecture = reader.text("architecture");
  reader.choice("architecture", {"deeplab_v2"});
  config.backbone = reader.text("backbone");
  reader.choice("backbone", {"resnet50", "resnet101"});
  reader.choice("output_stride", {"8"}, "8");
  config.aspp_rates = reader.integers("aspp_rates", 1, 512);
  reader.choice("aspp_fusion", {"sum"}, "sum");
  config.stride_placement =
      reader.choice("stride_placement", {"1x1", "3x3"}) == 0 ? StridePlacement::k1x1 : StridePlacement::k3x3;
  config.stem_padding =
      reader.choice("stem_padding", {"3", "same"}, "3") == 0 ? PaddingRule::kFloor : PaddingRule::kSame;
  constexpr PaddingRule kPoolRules[] = {PaddingRule::kFloor, PaddingRule::kCeil, PaddingRule::kSame};
  config.pool_padding = kPoolRules[reader.choice(
      "max_pool",
      {"kernel 3, stride 2, padding 1, floor", "kernel 3, stride 2, padding 1, ceil", "kernel 3, stride 2, same"},
      "kernel 3, stride 2, padding 1, floor")];
  if (!parse_float(reader.text("bn_eps", "1e-5"), &config.bn_eps) || config.bn_eps < 0) {
    reader.refuse("bn_eps", "a number that is not negative");
  }

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
  config.pad_to_multiple = reader.integers("pad_to_multiple", 1, 512, "1")[0];

  if (!reader.status().ok()) return reader.status();
  return config;
}

}  // namespace deeplab

#include "random_network.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

namespace deeplab {
namespace {

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A safetensors file as it grows.
class Writer {
 public:
  explicit Writer(uint64_t seed) : random_(seed) {}

  // Uniform in [low, high).
  void add(const std::string& name, const Dims& dims, float low, float high) {
    if (!names_.insert(name).second) return;  // weights may be shared
    int64_t elements = 1;
    for (const int64_t dim : dims) elements *= dim;
    const size_t begin = values_.size();
    values_.resize(begin + elements);
    for (size_t i = begin; i < values_.size(); ++i) values_[i] = low + (high - low) * random_.unit();
    header_[name] = {
        {"dtype", "F32"}, {"shape", dims}, {"data_offsets", {begin * sizeof(float), values_.size() * sizeof(float)}}};
  }

  Result<std::shared_ptr<const Safetensors>> finish() const {
    std::string text = header_.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const uint64_t size = text.size();
    struct Parsed {
      std::vector<std::byte> bytes;
      std::shared_ptr<const Safetensors> file;
    };
    auto parsed = std::make_shared<Parsed>();
    parsed->bytes.resize(sizeof size + text.size() + values_.size() * sizeof(float));
    std::byte* out = parsed->bytes.data();
    std::memcpy(out, &size, sizeof size);
    std::memcpy(out + sizeof size, text.data(), text.size());
    const auto* values = reinterpret_cast<const std::byte*>(values_.data());
    std::copy_n(values, values_.size() * sizeof(float), out + sizeof size + text.size());
    auto file = Safetensors::parse(out, parsed->bytes.size(), "random weights");
    if (!file.ok()) return file.status();
    parsed->file = std::move(*file);
    return std::shared_ptr<const Safetensors>(parsed, parsed->file.get());  // which keeps the bytes
  }

 private:
  Random random_;
  nlohmann::json header_ = nlohmann::json::object();
  std::set<std::string> names_;
  std::vector<float> values_;
};

// v2's branches, VGG-16's fc8, v3's classifier.
bool is_to_classes(const std::string& weight) {
  const bool branch = starts_with(weight, "aspp.branches.") && std::count(weight.begin(), weight.end(), '.') == 3;
  return branch || ends_with(weight, ".fc8.weight") || weight == "classifier.weight";
}

// What a residual block adds is small: batch norm sees to it, or the kernel that it is folded into. Of MobileNetV2 all
// blocks are, or most values would be beyond ReLU6's bound, where the network multiplies every rounding.
float scale_of(const std::string& layer) {
  if (ends_with(layer, ".bn3") || ends_with(layer, ".conv3.weight")) return 0.2f;
  return starts_with(layer, "blocks.") && layer.find(".project.") != std::string::npos ? 0.5f : 1.0f;
}

void add_conv(const Conv2d& conv, Writer& writer) {
  const Window& window = conv.window;
  const double fan_in = static_cast<double>(conv.depth()) * window.kernel * window.kernel;
  const bool folded = !conv.bias.empty();
  double scale = folded ? scale_of(conv.weight) : 1;
  if (is_to_classes(conv.weight)) scale = 0.5;
  if (starts_with(conv.weight, "wide")) scale = 2;
  const auto bound = static_cast<float>(std::sqrt(6 / fan_in) * scale);
  writer.add(conv.weight, {conv.out_channels, conv.depth(), window.kernel, window.kernel}, -bound, bound);
  if (!conv.bias.empty()) writer.add(conv.bias, {conv.out_channels}, -0.5f, 0.5f);
}

void add_batch_norm(const BatchNorm& norm, Writer& writer) {
  const Dims dims{norm.channels};
  const float scale = scale_of(norm.name);
  writer.add(norm.name + ".weight", dims, 0.5f * scale, 1.5f * scale);
  writer.add(norm.name + ".bias", dims, -0.1f, 0.1f);
  writer.add(norm.name + ".running_mean", dims, -0.1f, 0.1f);
  writer.add(norm.name + ".running_var", dims, 0.5f, 1.5f);
}

}  // namespace

uint64_t seed_of(uint64_t seed, const std::string& name) {
  uint64_t hash = 14695981039346656037u ^ seed;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return hash;
}

Result<std::shared_ptr<const Safetensors>> random_weights(const Graph& graph, uint64_t seed) {
  Writer writer(seed);
  for (const Node& node : graph.nodes) {
    if (const auto* conv = std::get_if<Conv2d>(&node.op)) add_conv(*conv, writer);
    if (const auto* norm = std::get_if<BatchNorm>(&node.op)) add_batch_norm(*norm, writer);
  }
  return writer.finish();
}

std::vector<float> random_logits(const Graph& graph, const Shape& image, uint64_t seed) {
  Random random(seed);
  std::vector<float> logits;
  for (const Node& node : graph.nodes) {
    const auto* given = std::get_if<GivenLogits>(&node.op);
    if (given == nullptr) continue;
    logits.resize(image.n * given->classes * given->height * given->width);
    std::generate(logits.begin(), logits.end(), [&] { return 8 * random.unit() - 4; });
  }
  return logits;
}

Graph given_graph(const ModelConfig& config, int height, int width) {
  Graph graph;
  const NodeId image = graph.add("image", Image{}, {});
  const NodeId logits = graph.add("logits", GivenLogits{static_cast<int>(config.classes.size()), height, width}, {});
  graph.add("head", SegmentationHead{config}, {logits, image});
  return graph;
}

std::vector<uint8_t> random_pixels(const Shape& image, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> pixels(image.elements());
  std::generate(pixels.begin(), pixels.end(), [&] { return random.byte(); });
  return pixels;
}

std::vector<uint8_t> random_picture(const Shape& image, uint64_t seed) {
  Random random(seed);
  constexpr int64_t kRegion = 16;  // pixels
  const int64_t across = image.w / kRegion + 1, regions = across * (image.h / kRegion + 1);
  std::vector<float> colours(image.n * regions * image.c);
  for (float& colour : colours) colour = 40 + 160 * random.unit();
  std::vector<uint8_t> pixels(image.elements());
  for (int64_t i = 0; i < image.elements(); ++i) {
    const int64_t c = i % image.c, x = i / image.c % image.w, y = i / image.c / image.w % image.h;
    const int64_t n = i / (image.c * image.w * image.h);
    const float colour = colours[(n * regions + y / kRegion * across + x / kRegion) * image.c + c];
    pixels[i] = static_cast<uint8_t>(colour + 20 * random.unit());
  }
  return pixels;
}

ModelConfig plain_config(int classes) {
  ModelConfig config;
  config.value_scale = 1.0f / 255.0f;
  config.mean = {0.485f, 0.456f, 0.406f};
  config.std = {0.229f, 0.224f, 0.225f};
  for (int i = 0; i < classes; ++i) config.classes.push_back("class" + std::to_string(i));
  CrfTerm appearance;
  appearance.kernel = CrfKernel::kBilateral;
  appearance.dimensions = 5;
  appearance.compatibility = {4};
  appearance.deviations = {67, 67, 3, 3, 3};
  CrfTerm position;
  position.compatibility = {3};
  position.deviations = {1, 1};
  config.crf.model.terms = {appearance, position};
  return config;
}

ModelConfig network_config(const std::string& backbone, int classes, const std::vector<int>& rates,
                           const std::string& architecture) {
  ModelConfig config = plain_config(classes);
  config.architecture = architecture;
  config.aspp_fusion = architecture == "deeplab_v3" ? AsppFusion::kConcat : AsppFusion::kSum;
  config.batch_norm = backbone != "vgg16";
  config.backbone = backbone;
  config.aspp_rates = rates;
  return config;
}

NetworkAround::NetworkAround(const ModelConfig& config) : config_(config) {
  image_ = append("image", Image{}, {}, 3);
  input_ = append("normalize", Normalize{config}, {image_}, 3);
}

NodeId NetworkAround::append(const std::string& name, Op op, std::vector<NodeId> inputs, int channels) {
  channels_.push_back(channels);
  return graph_.add(name, std::move(op), std::move(inputs));
}

NodeId NetworkAround::activate(NodeId x, Activation activation) {
  return append(next_name("activation"), Activate{activation}, {x}, channels_[x]);
}

NodeId NetworkAround::conv(NodeId x, int out_channels, const Window& window, const ConvParts& parts) {
  // Wide enough to meet the upper bound of ReLU6.
  const std::string name = next_name(parts.activation == Activation::kRelu6 ? "wide" : "conv");
  Conv2d op;
  op.weight = name + ".weight";
  op.in_channels = channels_[x];
  op.out_channels = out_channels;
  op.window = window;
  op.depthwise = parts.depthwise;
  if (parts.bias) op.bias = name + ".bias";
  x = append(name, std::move(op), {x}, out_channels);
  if (parts.batch_norm) x = append(name + ".bn", BatchNorm{name + ".bn", 1e-5f, out_channels}, {x}, out_channels);
  return parts.activation == Activation::kNone ? x : activate(x, parts.activation);
}

NodeId NetworkAround::max_pool(NodeId x, const Window& window) {
  return append(next_name("pool"), MaxPool{window}, {x}, channels_[x]);
}

NodeId NetworkAround::average_pool(NodeId x, const Window& window) {
  return append(next_name("pool"), AveragePool{window}, {x}, channels_[x]);
}

NodeId NetworkAround::global_average_pool(NodeId x) {
  return append(next_name("pool"), GlobalAveragePool{}, {x}, channels_[x]);
}

NodeId NetworkAround::concat(const std::vector<NodeId>& inputs) {
  int channels = 0;
  for (const NodeId input : inputs) channels += channels_[input];
  return append(next_name("concat"), Concat{}, inputs, channels);
}

NodeId NetworkAround::add(NodeId x, NodeId shortcut, Activation activation) {
  const NodeId sum = append(next_name("add"), Add{}, {x, shortcut}, channels_[x]);
  return activation == Activation::kNone ? sum : activate(sum, activation);
}

NodeId NetworkAround::logits(NodeId x, const std::vector<int>& rates) {
  std::vector<NodeId> branches;
  for (size_t i = 0; i < std::max<size_t>(rates.size(), 1); ++i) {
    const std::string name = "aspp.branches." + std::to_string(graph_.nodes.size());
    Conv2d op;
    op.weight = name + ".weight";
    op.in_channels = channels_[x];
    op.out_channels = classes();
    if (!rates.empty()) op.window = {3, 1, rates[i], rates[i]};
    op.bias = name + ".bias";
    branches.push_back(append(name, std::move(op), {x}, classes()));
  }
  return append(next_name("aspp"), Add{}, branches, classes());
}

NodeId NetworkAround::fuse(FuseRule rule, const std::vector<NodeId>& logits) {
  return append(next_name("fuse"), FuseLogits{rule, std::vector<bool>(logits.size(), false)}, logits, classes());
}

Graph NetworkAround::finish_logits(NodeId logits) {
  append("head", SegmentationHead{config_}, {logits, image_}, classes());
  return graph_;
}

}  // namespace deeplab

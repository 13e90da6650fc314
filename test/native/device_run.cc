#include "device_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/shapes.h"

namespace deeplab {
namespace {

constexpr uint8_t kPoison = 0xff;  // four of them are a NaN

const std::atomic<bool> kNotCancelled{false};

template <typename T>
bool is_poison(const std::vector<T>& values, size_t guard) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data() + values.size() - guard);
  return std::all_of(bytes, bytes + guard * sizeof(T), [](uint8_t byte) { return byte == kPoison; });
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace

Outputs::Outputs(const Shape& image, const Shape& logits)
    : labels_(image.n * image.h * image.w + kGuard),
      scores_(image.n * logits.c * image.h * image.w + kGuard),
      logits_(logits.elements() + kGuard) {
  poison();
}

void Outputs::poison() {
  std::memset(labels_.data(), kPoison, labels_.size());
  std::memset(scores_.data(), kPoison, scores_.size() * sizeof(float));
  std::memset(logits_.data(), kPoison, logits_.size() * sizeof(float));
}

RunOutput Outputs::view() { return {labels_.data(), scores_.data(), logits_.data()}; }

Status Outputs::check_guards() const {
  if (is_poison(labels_, kGuard) && is_poison(scores_, kGuard) && is_poison(logits_, kGuard)) return Status();
  return error(Code::kInternal, "the run wrote beyond its output");
}

bool Outputs::operator==(const Outputs& other) const {
  return same_bits(labels_, other.labels_) && same_bits(scores_, other.scores_) && same_bits(logits_, other.logits_);
}

Result<Shape> logits_shape(const Graph& graph, const Shape& image) {
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  return (*shapes)[graph.nodes.back().inputs[0]];
}

Status Compiled::start(const std::vector<uint8_t>& pixels, Outputs* outputs, const CrfParameters* crf,
                       const std::vector<float>& given) const {
  *outputs = Outputs(image, logits);
  std::vector<uint8_t> input = pixels;
  std::vector<float> input_logits = given;
  const Status status = executable->start({input.data(), input_logits.data(), crf}, outputs->view(), kNotCancelled);
  std::fill(input.begin(), input.end(), kPoison);
  std::fill(input_logits.begin(), input_logits.end(), NAN);
  return status;
}

Status Compiled::finish(const Outputs& outputs) const {
  DEEPLAB_RETURN_IF_ERROR(executable->finish());
  return outputs.check_guards();
}

Result<Outputs> Compiled::run(const std::vector<uint8_t>& pixels, const CrfParameters* crf,
                              const std::vector<float>& given) const {
  Outputs outputs;
  DEEPLAB_RETURN_IF_ERROR(start(pixels, &outputs, crf, given));
  DEEPLAB_RETURN_IF_ERROR(finish(outputs));
  return outputs;
}

Result<std::shared_ptr<Network>> load_network(Backend& backend, std::shared_ptr<const Safetensors> weights,
                                              const NetworkOptions& options) {
  auto network = backend.load(std::move(weights), options);
  if (!network.ok()) return network.status();
  return std::shared_ptr<Network>(std::move(*network));
}

Result<Compiled> compile(std::shared_ptr<Network> network, const Graph& graph, const Shape& image) {
  auto executable = network->compile(graph, image, kNotCancelled);
  if (!executable.ok()) return executable.status();
  auto logits = logits_shape(graph, image);
  if (!logits.ok()) return logits.status();
  return Compiled{std::move(network), std::move(*executable), image, *logits};
}

}  // namespace deeplab

// Runs of a network on a backend, with outputs that show what was not written and what was written beside them.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"

namespace deeplab {

// Host memory for the results of one run. Everything is poison (NaN, label 255) until it is written.
class Outputs {
 public:
  Outputs() = default;
  // Shapes of the image [N,channels,H,W] and of the logits.
  Outputs(const Shape& image, const Shape& logits);

  void poison();
  RunOutput view();
  // Whether the memory behind each result is still poison.
  Status check_guards() const;

  // Without the guards.
  std::vector<uint8_t> labels() const { return {labels_.begin(), labels_.end() - kGuard}; }
  const float* scores() const { return scores_.data(); }
  size_t score_count() const { return scores_.size() - kGuard; }
  const float* logits() const { return logits_.data(); }
  // Bit for bit.
  bool operator==(const Outputs& other) const;

 private:
  static constexpr size_t kGuard = 64;  // elements
  std::vector<uint8_t> labels_;
  std::vector<float> scores_, logits_;
};

// Shape of the input of the graph's head.
Result<Shape> logits_shape(const Graph& graph, const Shape& image);

// A network on a device, compiled for an image.
struct Compiled {
  std::shared_ptr<Network> network;
  std::unique_ptr<Executable> executable;
  Shape image, logits;

  // `pixels`, and the logits that a graph with GivenLogits is `given`, are copied, and the copies are overwritten once
  // the run has started: they need not last longer.
  Status start(const std::vector<uint8_t>& pixels, Outputs* outputs, const CrfParameters* crf = nullptr,
               const std::vector<float>& given = {}) const;
  Status finish(const Outputs& outputs) const;
  Result<Outputs> run(const std::vector<uint8_t>& pixels, const CrfParameters* crf = nullptr,
                      const std::vector<float>& given = {}) const;
};

Result<std::shared_ptr<Network>> load_network(Backend& backend, std::shared_ptr<const Safetensors> weights,
                                              const NetworkOptions& options);
Result<Compiled> compile(std::shared_ptr<Network> network, const Graph& graph, const Shape& image);

}  // namespace deeplab

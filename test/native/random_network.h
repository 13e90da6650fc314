// Networks with random weights, in memory: small ones around a single operation, and whole ones.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}
  // [0, 1)
  float unit() { return static_cast<float>(bits_() >> 40) * 0x1p-24f; }
  uint8_t byte() { return static_cast<uint8_t>(bits_() >> 56); }

 private:
  std::mt19937_64 bits_;
};

// A seed for everything that has this name, whatever else is run.
uint64_t seed_of(uint64_t seed, const std::string& name);

// Every tensor that the graph, as a builder made it, names. Kernels are scaled as He et al. 2015 do, and batch norm is
// near one, so that activations neither die nor explode on the way through.
Result<std::shared_ptr<const Safetensors>> random_weights(const Graph& graph, uint64_t seed);

// Logits of a graph with GivenLogits; empty for others.
std::vector<float> random_logits(const Graph& graph, const Shape& image, uint64_t seed);
// Only a head, on logits that a run is given.
Graph given_graph(const ModelConfig& config, int height, int width);

// uint8 [N,H,W,channels], plain noise.
std::vector<uint8_t> random_pixels(const Shape& image, uint64_t seed);
// The same with regions of a colour each, so that a bilateral kernel finds neighbours.
std::vector<uint8_t> random_picture(const Shape& image, uint64_t seed);

// RGB from 0 to 1 with ImageNet's mean and standard deviation, the published CRF.
ModelConfig plain_config(int classes);

// DeepLab as plain_config has it.
ModelConfig network_config(const std::string& backbone, int classes, const std::vector<int>& rates = {6, 12, 18, 24},
                           const std::string& architecture = "deeplab_v2");

// Builds a network around the operation under test: normalised image -> ... -> sum of dilated convolutions -> head.
class NetworkAround {
 public:
  explicit NetworkAround(const ModelConfig& config);

  struct ConvParts {
    bool batch_norm = true;
    bool bias = false;
    Activation activation = Activation::kRelu;
    bool depthwise = false;
  };

  NodeId input() const { return input_; }
  int channels(NodeId x) const { return channels_[x]; }
  NodeId conv(NodeId x, int out_channels, const Window& window, const ConvParts& parts);
  NodeId conv(NodeId x, int out_channels, const Window& window = {}) {
    return conv(x, out_channels, window, ConvParts{});
  }
  NodeId max_pool(NodeId x, const Window& window);
  NodeId average_pool(NodeId x, const Window& window);
  NodeId global_average_pool(NodeId x);
  NodeId concat(const std::vector<NodeId>& inputs);
  // activation(x + shortcut)
  NodeId add(NodeId x, NodeId shortcut, Activation activation = Activation::kRelu);
  // A branch for each atrous rate; one 1x1 branch where there is none.
  NodeId logits(NodeId x, const std::vector<int>& rates = {});
  NodeId fuse(FuseRule rule, const std::vector<NodeId>& logits);
  Graph finish_logits(NodeId logits);
  Graph finish(NodeId x, const std::vector<int>& rates = {}) { return finish_logits(logits(x, rates)); }

 private:
  std::string next_name(const char* what) { return what + std::to_string(graph_.nodes.size()); }
  NodeId append(const std::string& name, Op op, std::vector<NodeId> inputs, int channels);
  NodeId activate(NodeId x, Activation activation);
  int classes() const { return static_cast<int>(config_.classes.size()); }

  Graph graph_;
  std::vector<int> channels_;  // of every node
  ModelConfig config_;
  NodeId image_, input_;
};

}  // namespace deeplab

// What a network is: a list of operations on activations, with no device in it. Builders make a Graph from a
// ModelConfig, passes rewrite it, a backend compiles it for an image size. Weights stay in their file; an operation
// only names them (graph/weights.h reads them).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "graph/config.h"

namespace deeplab {

// A sliding window over height and width, the same in both.
struct Window {
  int kernel = 1;
  int stride = 1;
  int dilation = 1;  // the atrous rate
  int padding = 0;   // before and after; PaddingRule::kSame computes its own
  PaddingRule rule = PaddingRule::kFloor;

  int extent() const { return dilation * (kernel - 1) + 1; }
};

// ---- Operations. Comments give inputs -> output. ----

// The image that comes in: uint8 [N,channels,H,W], channels 1 (grey), 3 (RGB) or 4 (RGBA, alpha ignored).
struct Image {};

// image -> [N,3,h,w]: bilinear resize, channel order, scale, mean and standard deviation, zeros as padding.
struct Normalize {
  ModelConfig config;
};

// Scale and shift per channel by running statistics, from the tensors "<name>.{weight,bias,running_mean,running_var}".
struct BatchNorm {
  std::string name;
  float eps = 0;
  int channels = 0;
};

// x, or x and a residual -> relu(conv(x) + bias + residual); which of these there are, the fields say.
struct Conv2d {
  std::string weight;  // tensor [out,in,kernel,kernel]
  int in_channels = 0;
  int out_channels = 0;
  Window window;
  std::string bias;  // tensor [out], or empty
  std::optional<BatchNorm> batch_norm;
  bool residual = false;
  bool relu = false;
};

struct Relu {};

// x1, x2, ... -> their sum.
struct Add {};

struct MaxPool {
  Window window;
};

// Offset of one kernel element from the centre, in input pixels.
struct Tap {
  int dy = 0;
  int dx = 0;
  bool operator==(const Tap& other) const { return dy == other.dy && dx == other.dx; }
};

// x -> [N, taps * classes, h, w]: the products of every tap of a sum of dilated convolutions to few classes, as one 1x1
// convolution. ShiftedAdd completes it. Taps that branches have in common (the centre) are merged.
struct AtrousTaps {
  std::vector<Conv2d> branches;
  std::vector<Tap> taps;
  int in_channels = 0;
  int classes = 0;
};

// products -> [N,classes,h,w]: output[y,x] = sum over taps of product[tap][y + dy, x + dx], zero outside.
struct ShiftedAdd {
  std::vector<Tap> taps;
  int classes = 0;
};

// logits, normalized image, image -> what a user sees, at the image's size: logits upsampled (bilinear, half-pixel
// centres), softmax, argmax.
struct SegmentationHead {};

enum class FuseRule { kMax, kMean };

using Op =
    std::variant<Image, Normalize, Conv2d, BatchNorm, Relu, Add, MaxPool, AtrousTaps, ShiftedAdd, SegmentationHead>;

const char* op_name(const Op& op);
// Whether an operation's output is the network's own to store: not the caller's image, not the caller's result.
bool makes_activation(const Op& op);

using NodeId = int;

struct Node {
  std::string name;
  Op op;
  std::vector<NodeId> inputs;
};

// Nodes in topological order: a node's inputs come before it. A NodeId is an index into `nodes`.
struct Graph {
  std::vector<Node> nodes;

  NodeId add(std::string name, Op op, std::vector<NodeId> inputs) {
    nodes.push_back({std::move(name), std::move(op), std::move(inputs)});
    return static_cast<NodeId>(nodes.size()) - 1;
  }
};

// For each node, the last node that reads its output (itself, where none does).
std::vector<NodeId> last_uses(const Graph& graph);

}  // namespace deeplab

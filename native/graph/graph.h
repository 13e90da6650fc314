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

enum class Activation {
  kNone,
  kRelu,
  kRelu6,  // min(max(x, 0), 6)
};

// x, or x and a residual -> activation(conv(x) + bias + residual); which of these there are, the fields say.
struct Conv2d {
  std::string weight;  // tensor [out,in,kernel,kernel]; depthwise: [channels,1,kernel,kernel]
  int in_channels = 0;
  int out_channels = 0;
  Window window;
  std::string bias;        // tensor [out], or empty
  bool depthwise = false;  // each channel by itself: as many go out as come in
  std::optional<BatchNorm> batch_norm;
  bool residual = false;
  Activation activation = Activation::kNone;

  // Channels that one output channel is computed from.
  int depth() const { return depthwise ? 1 : in_channels; }
};

// x -> activation(x); not kNone.
struct Activate {
  Activation activation = Activation::kRelu;
};

// x1, x2, ... -> their sum.
struct Add {};

struct MaxPool {
  Window window;
};

// Sums over the window, zeros beyond the border, divided by the window's size everywhere (Caffe's AVE). Stride 1, the
// size stays.
struct AveragePool {
  Window window;
};

// [N,C,h,w] -> [N,C,1,1]: the mean.
struct GlobalAveragePool {};

// x1, x2, ... -> their channels, one after the other; an input of one pixel is repeated over height and width (those of
// the largest input).
struct Concat {};

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

// normalized image [N,3,h,w] -> [N,3,floor(h * scale),floor(w * scale)], at least one pixel: bilinear, half-pixel
// centres (pixel i lies at (i + 0.5) / scale - 0.5), of the image mirrored left to right if it says so.
struct Resize {
  double scale = 1;
  bool mirror = false;
};

enum class FuseRule { kMax, kMean, kSum };

// logits of the same images, of mirrored ones where `mirrored` says so -> [N,classes,h,w] of the first: the others are
// brought to its size (bilinear, half-pixel centres) and mirrored back; then the rule, element by element.
struct FuseLogits {
  FuseRule rule = FuseRule::kMax;
  std::vector<bool> mirrored;  // of each input
};

// Logits that the caller gives with the image: -> [N,classes,height,width].
struct GivenLogits {
  int classes = 0;
  int height = 0;
  int width = 0;
};

// logits, image -> what a user sees, at the image's size: logits upsampled (bilinear) from the grid that they have over
// the network's input, which `config` tells; softmax, argmax.
struct SegmentationHead {
  ModelConfig config;
};

using Op = std::variant<Image, Normalize, Conv2d, BatchNorm, Activate, Add, MaxPool, AveragePool, GlobalAveragePool,
                        Concat, AtrousTaps, ShiftedAdd, Resize, FuseLogits, GivenLogits, SegmentationHead>;

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

// The network's own output: what the head reads. The head is the last node.
NodeId logits_of(const Graph& graph);

// For each node, the last node that reads its output (itself, where none does).
std::vector<NodeId> last_uses(const Graph& graph);

}  // namespace deeplab

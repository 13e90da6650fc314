// Adds to a graph the layers that the networks' builders have in common, as the papers draw them: batch norm and
// activations are nodes of their own, which the passes fuse.
#pragma once

#include <string>

#include "graph/graph.h"

namespace deeplab {

class LayerBuilder {
 public:
  // `batch_norm` false: it is folded, and each convolution has a bias instead.
  LayerBuilder(Graph& graph, bool batch_norm, float eps) : graph_(graph), batch_norm_(batch_norm), eps_(eps) {}

  // Convolution `conv` with batch norm `bn`; depthwise where in == out and `depthwise`.
  NodeId conv_bn(const std::string& conv, const std::string& bn, NodeId input, int in, int out, const Window& window,
                 bool depthwise = false) {
    Conv2d op;
    op.weight = conv + ".weight";
    op.in_channels = in;
    op.out_channels = out;
    op.window = window;
    op.depthwise = depthwise;
    if (!batch_norm_) op.bias = conv + ".bias";
    const NodeId x = graph_.add(conv, std::move(op), {input});
    return batch_norm_ ? graph_.add(bn, BatchNorm{bn, eps_, out}, {x}) : x;
  }

  // "<name>.conv", "<name>.bn" and an activation.
  NodeId unit(const std::string& name, NodeId input, int in, int out, const Window& window, Activation activation,
              bool depthwise = false) {
    const NodeId x = conv_bn(name + ".conv", name + ".bn", input, in, out, window, depthwise);
    return activation == Activation::kNone ? x : graph_.add(name + ".activation", Activate{activation}, {x});
  }

  // Convolution `name` with a bias and no batch norm.
  NodeId conv(const std::string& name, NodeId input, int in, int out, const Window& window) {
    Conv2d op;
    op.weight = name + ".weight";
    op.in_channels = in;
    op.out_channels = out;
    op.window = window;
    op.bias = name + ".bias";
    return graph_.add(name, std::move(op), {input});
  }

  NodeId relu(const std::string& name, NodeId input) { return graph_.add(name, Activate{}, {input}); }

  Graph& graph() { return graph_; }

 private:
  Graph& graph_;
  const bool batch_norm_;
  const float eps_;
};

// Atrous 3x3 (or kernel x kernel) that keeps the size: dilation * (kernel - 1) is even.
inline Window same_size(int kernel, int dilation = 1) {
  return {kernel, 1, dilation, dilation * (kernel - 1) / 2, PaddingRule::kFloor};
}

}  // namespace deeplab

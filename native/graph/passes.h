// Rewrites of a Graph that keep its meaning. Each takes a graph and returns another; none changes weights, which are
// read, folded and rearranged by graph/weights.h as the rewritten operations say.
#pragma once

#include "graph/graph.h"

namespace deeplab {

// BatchNorm after a convolution that nothing else reads becomes part of it.
Graph fold_batch_norm(const Graph& graph);

// Add of a convolution and a value that nothing reads afterwards becomes the convolution's residual.
Graph fuse_residual(const Graph& graph);

// ReLU or ReLU6 after a convolution that nothing else reads becomes part of it.
Graph fuse_activation(const Graph& graph);

// A sum of dilated convolutions from one input to few classes becomes AtrousTaps and ShiftedAdd: one matrix product
// over all branches and taps instead of thin convolutions, which run at a tenth of a processor's peak.
Graph aspp_as_gemm(const Graph& graph);

// All of them, in the order they build on each other.
Graph optimize(const Graph& graph);

}  // namespace deeplab

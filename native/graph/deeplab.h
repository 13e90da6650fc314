// Builder of the networks of the DeepLab family: a backbone and a head, as the config says. Node names are the weights'
// names (docs/weights.md).
#pragma once

#include "graph/graph.h"

namespace deeplab {

// The network as the papers draw it, one node per layer: batch norm, ReLU and additions are nodes of their own.
Graph build_deeplab(const ModelConfig& config);

}  // namespace deeplab

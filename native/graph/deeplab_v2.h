// Builder of DeepLab v2 (arXiv 1606.00915): a dilated ResNet and an ASPP head. Node names are the weights' names.
#pragma once

#include "graph/graph.h"

namespace deeplab {

// The network as the paper draws it, one node per layer: batch norm, ReLU and additions are nodes of their own. Tensor
// names: conv1.weight, bn1.*, layer{1-4}.{i}.conv{1-3}.weight, layer{1-4}.{i}.bn{1-3}.*,
// layer{1-4}.0.downsample.{0.weight,1.*}, aspp.branches.{i}.{weight,bias}.
Graph build_deeplab_v2(const ModelConfig& config);

}  // namespace deeplab

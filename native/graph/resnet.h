// Builder of the ResNet backbones with atrous convolutions in place of late strides.
#pragma once

#include "graph/graph.h"

namespace deeplab {

constexpr int kResnetFeatureChannels = 2048;

// Appends conv1 to layer4, and the cascade behind it, to `graph`; returns the node of the features, [N,2048,h,w] at
// config.output_stride.
NodeId add_resnet(Graph& graph, const ModelConfig& config, NodeId input);

}  // namespace deeplab

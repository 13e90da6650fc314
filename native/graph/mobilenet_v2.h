// Builder of the MobileNetV2 backbone (arXiv 1801.04381) with atrous depthwise convolutions in place of late strides.
#pragma once

#include "graph/graph.h"

namespace deeplab {

// Channels of its features.
int mobilenet_v2_feature_channels(const ModelConfig& config);

// Appends the stem and the 17 inverted residual blocks to `graph`; returns the node of the features, at
// config.output_stride.
NodeId add_mobilenet_v2(Graph& graph, const ModelConfig& config, NodeId input);

}  // namespace deeplab

// Builder of the VGG-16 backbone of DeepLab v1 and v2: pool4 and pool5 keep the size, conv5 has rate 2.
#pragma once

#include "graph/graph.h"

namespace deeplab {

constexpr int kVggFeatureChannels = 512;

// Appends conv1_1 to pool5 (and pool5a) to `graph`; returns the node of the features, [N,512,h,w] at output stride 8.
NodeId add_vgg16(Graph& graph, const ModelConfig& config, NodeId input);

}  // namespace deeplab

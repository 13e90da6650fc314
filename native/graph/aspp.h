// Builders of what stands between a backbone and the logits: atrous spatial pyramid pooling in its three forms.
#pragma once

#include "graph/graph.h"

namespace deeplab {

// Each appends to `graph` and returns the node of the logits, for features of `channels` channels.

// DeepLab v2 on ResNet (arXiv 1606.00915, figure 7): dilated 3x3 convolutions to the classes, summed.
NodeId add_aspp_sum(Graph& graph, const ModelConfig& config, NodeId features, int channels);

// VGG-16: fc6 at the branch's rate, fc7, fc8 to the classes; one branch is LargeFOV, several are summed.
NodeId add_vgg_branches(Graph& graph, const ModelConfig& config, NodeId features, int channels);

// DeepLab v3 (arXiv 1706.05587, section 3.3): 1x1, atrous 3x3 and image-level features, concatenated and projected; or
// none of it, after a cascade; then the classifier.
NodeId add_v3_head(Graph& graph, const ModelConfig& config, NodeId features, int channels);

// Whether, in training, dropout follows a node of these names: VGG's fc6 and fc7 (as in the classification network that
// they are from), v3's projection (as in torchvision's).
bool has_dropout(const std::string& node);

}  // namespace deeplab

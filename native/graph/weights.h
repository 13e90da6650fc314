// The weights of an operation, read from the file and brought into the form that the rewritten graph asks for: batch
// norm folded in, the branches of an ASPP stacked tap by tap.
#pragma once

#include <string>
#include <vector>

#include "core/safetensors.h"
#include "graph/graph.h"

namespace deeplab {

struct ConvWeights {
  Dims dims;                  // [out,in,kernel,kernel]; depthwise: [channels,1,kernel,kernel]
  std::vector<float> kernel;  // in that order
  std::vector<float> bias;    // [out]
};

Result<ConvWeights> read_weights(const Safetensors& file, const Conv2d& conv);

// What weights are called, however many layers use them.
inline const std::string& weights_name(const Conv2d& conv) { return conv.weight; }
inline const std::string& weights_name(const AtrousTaps& op) { return op.branches[0].weight; }

// All that decides, for one file, what `read_weights` makes.
std::string weights_key(const Conv2d& conv);
std::string weights_key(const AtrousTaps& op);

// The 1x1 convolution of the taps: output channel tap * classes + class. The branches' biases are added at the centre.
Result<ConvWeights> read_weights(const Safetensors& file, const AtrousTaps& op);

}  // namespace deeplab

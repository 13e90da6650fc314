// What a graph computes, in float64 and in plain loops: what every backend is held against. Weights are taken from
// their tensors as they are stored, so that folding batch norm and merging taps is tested with the rest; only sizes
// come from graph/shapes.h, which test/parity.test.ts holds against PyTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "core/safetensors.h"
#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

struct ReferenceTensor {
  Shape shape;
  std::vector<double> values;  // [N,C,H,W]
};

// The input of the graph's SegmentationHead. The graph may be as a builder made it or as optimize() did.
Result<ReferenceTensor> reference_logits(const Graph& graph, const Safetensors& weights, const Shape& image,
                                         const RunInput& input);

// What a SegmentationHead makes of logits.
struct ReferenceLabels {
  std::vector<uint8_t> labels;  // [N,H,W]
  std::vector<double> margins;  // [N,H,W]: by how much the best class's logit is above the second's
  ReferenceTensor scores;       // [N,classes,H,W]
};

ReferenceLabels reference_labels(const ModelConfig& config, const Shape& image, const ReferenceTensor& logits);

}  // namespace deeplab

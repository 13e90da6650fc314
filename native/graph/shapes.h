// Sizes: of windows, of the network's input, and of every activation of a graph.
#pragma once

#include "core/status.h"
#include "core/tensor.h"
#include "graph/graph.h"

namespace deeplab {

// Where a window's outputs lie along one axis.
struct WindowExtent {
  int64_t outputs = 0;
  int64_t padding_before = 0;
  int64_t padding_after = 0;
};

WindowExtent window_extent(const Window& window, int64_t size);

// What Normalize makes of an image: it is resized to width x height, then padded to the right and below.
struct InputGeometry {
  int64_t height = 0;
  int64_t width = 0;
  int64_t padded_height = 0;
  int64_t padded_width = 0;
};

InputGeometry input_geometry(const ModelConfig& config, int64_t height, int64_t width);

// The output shape of every node, for images of this shape. The head's is that of the scores.
Result<std::vector<Shape>> infer_shapes(const Graph& graph, const Shape& image);

}  // namespace deeplab

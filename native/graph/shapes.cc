#include "graph/shapes.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"

namespace deeplab {
namespace {

// The shape of one node's output from those of its inputs; an overload for each operation.
struct InferShape {
  const std::vector<Shape>& inputs;
  const Shape& image;

  Result<Shape> operator()(const Image&) const { return image; }
  Result<Shape> operator()(const Normalize& op) const {
    const InputGeometry geometry = input_geometry(op.config, image.h, image.w);
    return Shape{image.n, 3, geometry.padded_height, geometry.padded_width};
  }
  Result<Shape> operator()(const Conv2d& op) const {
    if (inputs[0].c != op.in_channels) {
      return error(Code::kInternal, "has ", inputs[0].c, " input channels, its weights ", op.in_channels);
    }
    if (op.depthwise && op.out_channels != op.in_channels) {
      return error(Code::kInternal, "is depthwise with ", op.in_channels, " and ", op.out_channels, " channels");
    }
    const Shape output = windowed(op.window, op.out_channels);
    if (op.residual && inputs[1] != output) {
      return error(Code::kInternal, "adds ", to_string(inputs[1]), " to ", to_string(output));
    }
    return output;
  }
  Result<Shape> operator()(const BatchNorm&) const { return inputs[0]; }
  Result<Shape> operator()(const Activate&) const { return inputs[0]; }
  Result<Shape> operator()(const Add&) const {
    for (const Shape& shape : inputs) {
      if (shape != inputs[0]) return error(Code::kInternal, "adds ", to_string(shape), " to ", to_string(inputs[0]));
    }
    return inputs[0];
  }
  Result<Shape> operator()(const MaxPool& op) const { return windowed(op.window, inputs[0].c); }
  Result<Shape> operator()(const AveragePool& op) const { return windowed(op.window, inputs[0].c); }
  Result<Shape> operator()(const GlobalAveragePool&) const { return Shape{inputs[0].n, inputs[0].c, 1, 1}; }
  Result<Shape> operator()(const Concat&) const {
    Shape output{inputs[0].n, 0, 1, 1};
    for (const Shape& shape : inputs) {
      output.c += shape.c;
      output.h = std::max(output.h, shape.h);
      output.w = std::max(output.w, shape.w);
    }
    for (const Shape& shape : inputs) {
      const bool pixel = shape.h == 1 && shape.w == 1;
      if (!pixel && (shape.h != output.h || shape.w != output.w)) {
        return error(Code::kInternal, "concatenates ", to_string(shape), " to ", to_string(output));
      }
    }
    return output;
  }
  Result<Shape> operator()(const AtrousTaps& op) const {
    return Shape{inputs[0].n, static_cast<int64_t>(op.taps.size()) * op.classes, inputs[0].h, inputs[0].w};
  }
  Result<Shape> operator()(const ShiftedAdd& op) const {
    return Shape{inputs[0].n, op.classes, inputs[0].h, inputs[0].w};
  }
  Result<Shape> operator()(const Resize& op) const {
    const auto scaled = [&](int64_t size) {
      return std::max<int64_t>(static_cast<int64_t>(static_cast<double>(size) * op.scale), 1);
    };
    return Shape{inputs[0].n, inputs[0].c, scaled(inputs[0].h), scaled(inputs[0].w)};
  }
  Result<Shape> operator()(const GivenLogits& op) const { return Shape{image.n, op.classes, op.height, op.width}; }
  Result<Shape> operator()(const FuseLogits& op) const {
    if (op.mirrored.size() != inputs.size()) return error(Code::kInternal, "does not say of each input what it is");
    return inputs[0];
  }
  Result<Shape> operator()(const SegmentationHead&) const { return Shape{image.n, inputs[0].c, image.h, image.w}; }

  Shape windowed(const Window& window, int64_t channels) const {
    return {inputs[0].n, channels, window_extent(window, inputs[0].h).outputs,
            window_extent(window, inputs[0].w).outputs};
  }
};

}  // namespace

WindowExtent window_extent(const Window& window, int64_t size) {
  const int64_t stride = window.stride;
  const int64_t extent = window.extent();
  WindowExtent result;
  if (window.rule == PaddingRule::kSame) {
    result.outputs = (size + stride - 1) / stride;
    const int64_t total = std::max<int64_t>((result.outputs - 1) * stride + extent - size, 0);
    result.padding_before = total / 2;
    result.padding_after = total - total / 2;
    return result;
  }
  const int64_t room = std::max<int64_t>(size + 2 * window.padding - extent, 0);
  result.outputs = room / stride + 1;
  result.padding_before = window.padding;
  result.padding_after = window.padding;
  // In ceil mode an incomplete last window counts, unless it starts in the padding.
  if (window.rule == PaddingRule::kCeil && room % stride != 0 && result.outputs * stride < size + window.padding) {
    ++result.outputs;
    result.padding_after = (result.outputs - 1) * stride + extent - size - window.padding;
  }
  return result;
}

InputGeometry input_geometry(const ModelConfig& config, int64_t height, int64_t width) {
  InputGeometry geometry{height, width, 0, 0};
  if (config.resize == ResizeRule::kFixed) {
    geometry.height = config.input_height;
    geometry.width = config.input_width;
  } else if (config.resize == ResizeRule::kLongest) {
    const double scale = static_cast<double>(config.longest) / static_cast<double>(std::max(height, width));
    geometry.height = std::max<int64_t>(std::llround(static_cast<double>(height) * scale), 1);
    geometry.width = std::max<int64_t>(std::llround(static_cast<double>(width) * scale), 1);
  }
  geometry.padded_height = static_cast<int64_t>(round_up(geometry.height, config.pad_to_multiple));
  geometry.padded_width = static_cast<int64_t>(round_up(geometry.width, config.pad_to_multiple));
  return geometry;
}

Result<std::vector<Shape>> infer_shapes(const Graph& graph, const Shape& image) {
  if (image.n < 1 || image.h < 1 || image.w < 1) {
    return error(Code::kInvalidArgument, "expected an image of at least one pixel, received ", to_string(image));
  }
  std::vector<Shape> shapes;
  shapes.reserve(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    std::vector<Shape> inputs;
    for (const NodeId input : node.inputs) inputs.push_back(shapes[input]);
    auto shape = std::visit(InferShape{inputs, image}, node.op);
    if (!shape.ok()) return error(shape.status().code(), "layer ", node.name, " ", shape.status().message());
    shapes.push_back(*shape);
  }
  return shapes;
}

}  // namespace deeplab

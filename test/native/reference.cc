#include "reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blend.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

ReferenceTensor normalize(const ModelConfig& config, const Shape& image, const uint8_t* pixels, const Shape& output) {
  const InputGeometry geometry = input_geometry(config, image.h, image.w);
  ReferenceTensor y{output, std::vector<double>(output.elements(), 0.0)};
  for (int64_t n = 0; n < output.n; ++n) {
    for (int c = 0; c < 3; ++c) {
      const int64_t channel = image.c == 1 ? 0 : config.bgr ? 2 - c : c;
      const auto pixel = [&](int64_t row, int64_t column) {
        return static_cast<double>(pixels[((n * image.h + row) * image.w + column) * image.c + channel]);
      };
      for (int64_t i = 0; i < geometry.height; ++i) {
        const Blend rows(half_pixel(i, ratio(image.h, geometry.height)), image.h);
        for (int64_t j = 0; j < geometry.width; ++j) {
          const Blend columns(half_pixel(j, ratio(image.w, geometry.width)), image.w);
          const double value = rows(columns(pixel(rows.low, columns.low), pixel(rows.low, columns.high)),
                                    columns(pixel(rows.high, columns.low), pixel(rows.high, columns.high)));
          y.values[((n * 3 + c) * output.h + i) * output.w + j] =
              (value * config.value_scale - config.mean[c]) / config.std[c];
        }
      }
    }
  }
  return y;
}

// The input rows or columns that one kernel element meets: input = output * stride + shift, for outputs in [first,
// end).
struct Reach {
  int64_t shift, first, end;

  Reach(const Window& window, const WindowExtent& extent, int64_t element, int64_t inputs) {
    shift = element * window.dilation - extent.padding_before;
    const auto ceil_div = [](int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; };
    first = ceil_div(-shift, window.stride);
    end = std::min(extent.outputs, ceil_div(inputs - shift, window.stride));
  }
};

// output += input * weight, over the part of a plane that a kernel element meets.
void add_product(const double* input, int64_t input_width, double weight, const Reach& rows, const Reach& columns,
                 int64_t stride, double* output, int64_t output_width) {
  for (int64_t y = rows.first; y < rows.end; ++y) {
    const double* from = input + (y * stride + rows.shift) * input_width + columns.shift;
    double* to = output + y * output_width;
    if (stride == 1) {
      for (int64_t x = columns.first; x < columns.end; ++x) to[x] += weight * from[x];
    } else {
      for (int64_t x = columns.first; x < columns.end; ++x) to[x] += weight * from[x * stride];
    }
  }
}

// Depthwise, output channel i is that of input channel i.
ReferenceTensor convolve(const ReferenceTensor& x, const std::vector<double>& kernel, const Window& window,
                         bool depthwise, const Shape& output) {
  ReferenceTensor y{output, std::vector<double>(output.elements(), 0.0)};
  Shape in = x.shape, out = output;
  const bool pointwise = window.kernel == 1 && window.stride == 1 && window.padding == 0;
  if (pointwise) in = {in.n, in.c, 1, in.h * in.w}, out = {out.n, out.c, 1, out.h * out.w};  // one long row is faster
  const WindowExtent row_extent = window_extent(window, in.h), column_extent = window_extent(window, in.w);
  const int64_t size = window.kernel, taps = size * size;
#pragma omp parallel for
  for (int64_t plane = 0; plane < out.n * out.c; ++plane) {
    const int64_t n = plane / out.c, o = plane % out.c;
    double* to = y.values.data() + plane * out.h * out.w;
    const int64_t first = depthwise ? o : 0, depth = depthwise ? 1 : in.c;
    for (int64_t i = 0; i < depth; ++i) {
      const double* from = x.values.data() + (n * in.c + first + i) * in.h * in.w;
      for (int64_t k = 0; k < taps; ++k) {
        const Reach rows(window, row_extent, k / size, in.h), columns(window, column_extent, k % size, in.w);
        add_product(from, in.w, kernel[(o * depth + i) * taps + k], rows, columns, window.stride, to, out.w);
      }
    }
  }
  return y;
}

ReferenceTensor max_pool(const ReferenceTensor& x, const Window& window, const Shape& output) {
  ReferenceTensor y{output, std::vector<double>(output.elements(), -std::numeric_limits<double>::infinity())};
  const Shape& in = x.shape;
  const WindowExtent row_extent = window_extent(window, in.h), column_extent = window_extent(window, in.w);
  for (int64_t plane = 0; plane < output.n * output.c; ++plane) {
    const double* from = x.values.data() + plane * in.h * in.w;
    double* to = y.values.data() + plane * output.h * output.w;
    for (int64_t k = 0; k < int64_t{window.kernel} * window.kernel; ++k) {
      const Reach rows(window, row_extent, k / window.kernel, in.h);
      const Reach columns(window, column_extent, k % window.kernel, in.w);
      for (int64_t i = rows.first; i < rows.end; ++i) {
        for (int64_t j = columns.first; j < columns.end; ++j) {
          const double value = from[(i * window.stride + rows.shift) * in.w + j * window.stride + columns.shift];
          to[i * output.w + j] = std::max(to[i * output.w + j], value);
        }
      }
    }
  }
  return y;
}

// Zeros beyond the border count.
ReferenceTensor average_pool(const ReferenceTensor& x, const Window& window, const Shape& output) {
  const auto area = static_cast<double>(window.kernel * window.kernel);
  return convolve(x, std::vector<double>(output.c * window.kernel * window.kernel, 1 / area), window, true, output);
}

ReferenceTensor global_average_pool(const ReferenceTensor& x, const Shape& output) {
  ReferenceTensor y{output, std::vector<double>(output.elements(), 0.0)};
  const int64_t area = x.shape.h * x.shape.w;
  for (int64_t i = 0; i < x.shape.elements(); ++i) y.values[i / area] += x.values[i] / static_cast<double>(area);
  return y;
}

// `channel` of the output on becomes x, or its only pixel.
void place(const ReferenceTensor& x, int64_t channel, ReferenceTensor* y) {
  const Shape& in = x.shape;
  for (int64_t i = 0; i < y->shape.n * in.c * y->shape.h * y->shape.w; ++i) {
    const int64_t area = y->shape.h * y->shape.w, pixel = i % area, c = i / area % in.c, n = i / (area * in.c);
    const int64_t from = in.h * in.w == 1 ? 0 : pixel;
    y->values[(n * y->shape.c + channel + c) * area + pixel] = x.values[(n * in.c + c) * in.h * in.w + from];
  }
}

void add(const ReferenceTensor& x, ReferenceTensor* y) {
  for (size_t i = 0; i < y->values.size(); ++i) y->values[i] += x.values[i];
}

void activate(Activation activation, ReferenceTensor* x) {
  if (activation == Activation::kNone) return;
  const double most = activation == Activation::kRelu6 ? 6 : INFINITY;
  for (double& value : x->values) value = std::min(std::max(value, 0.0), most);
}

// y = scale * x + shift, by channel.
void scale_channels(const std::vector<double>& scale, const std::vector<double>& shift, ReferenceTensor* x) {
  const int64_t area = x->shape.h * x->shape.w;
  for (size_t i = 0; i < x->values.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / area % x->shape.c;
    x->values[i] = x->values[i] * scale[channel] + shift[channel];
  }
}

Status batch_norm(const Safetensors& weights, const BatchNorm& op, ReferenceTensor* x) {
  std::vector<std::vector<float>> parts;
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
    auto values = weights.read_f32(op.name + part, {op.channels});
    if (!values.ok()) return values.status();
    parts.push_back(std::move(*values));
  }
  std::vector<double> scale(op.channels), shift(op.channels);
  for (int c = 0; c < op.channels; ++c) {
    scale[c] = parts[0][c] / std::sqrt(static_cast<double>(parts[3][c]) + op.eps);
    shift[c] = parts[1][c] - parts[2][c] * scale[c];
  }
  scale_channels(scale, shift, x);
  return Status();
}

// Without the residual and the activation.
Result<ReferenceTensor> convolve(const Safetensors& weights, const Conv2d& op, const ReferenceTensor& x,
                                 const Shape& output) {
  auto kernel = weights.read_f32(
      op.weight, {op.out_channels, op.depthwise ? 1 : op.in_channels, op.window.kernel, op.window.kernel});
  if (!kernel.ok()) return kernel.status();
  ReferenceTensor y = convolve(x, std::vector<double>(kernel->begin(), kernel->end()), op.window, op.depthwise, output);
  if (!op.bias.empty()) {
    auto bias = weights.read_f32(op.bias, {op.out_channels});
    if (!bias.ok()) return bias.status();
    scale_channels(std::vector<double>(op.out_channels, 1.0), std::vector<double>(bias->begin(), bias->end()), &y);
  }
  if (op.batch_norm) DEEPLAB_RETURN_IF_ERROR(batch_norm(weights, *op.batch_norm, &y));
  return y;
}

// products[tap] = sum over the branches that have this tap of x times the branch's kernel there.
Result<ReferenceTensor> atrous_taps(const Safetensors& weights, const AtrousTaps& op, const ReferenceTensor& x,
                                    const Shape& output) {
  const int64_t in = op.in_channels, classes = op.classes;
  std::vector<double> kernel(op.taps.size() * classes * in), bias(op.taps.size() * classes);
  for (const Conv2d& branch : op.branches) {
    const int64_t size = branch.window.kernel;
    auto one = weights.read_f32(branch.weight, {classes, in, size, size});
    if (!one.ok()) return one.status();
    std::vector<float> one_bias(classes, 0.0f);
    if (!branch.bias.empty()) {
      auto read = weights.read_f32(branch.bias, {classes});
      if (!read.ok()) return read.status();
      one_bias = *read;
    }
    for (size_t t = 0; t < op.taps.size(); ++t) {
      const int64_t reach = size / 2 * branch.window.dilation;
      const int64_t y = op.taps[t].dy + reach, x_offset = op.taps[t].dx + reach;
      if (y % branch.window.dilation != 0 || x_offset % branch.window.dilation != 0) continue;
      const int64_t ky = y / branch.window.dilation, kx = x_offset / branch.window.dilation;
      if (y < 0 || x_offset < 0 || ky >= size || kx >= size) continue;
      for (int64_t c = 0; c < classes; ++c) {
        for (int64_t i = 0; i < in; ++i) {
          kernel[(t * classes + c) * in + i] += (*one)[((c * in + i) * size + ky) * size + kx];
        }
        if (op.taps[t] == Tap{0, 0}) bias[t * classes + c] += one_bias[c];
      }
    }
  }
  ReferenceTensor y = convolve(x, kernel, Window{}, false, output);
  scale_channels(std::vector<double>(output.c, 1.0), bias, &y);
  return y;
}

ReferenceTensor shifted_add(const ShiftedAdd& op, const ReferenceTensor& products, const Shape& output) {
  ReferenceTensor y{output, std::vector<double>(output.elements(), 0.0)};
  const int64_t area = output.h * output.w, taps = static_cast<int64_t>(op.taps.size());
  for (int64_t plane = 0; plane < output.n * output.c; ++plane) {
    const int64_t n = plane / output.c, c = plane % output.c;
    for (int64_t t = 0; t < taps; ++t) {
      const double* from = products.values.data() + ((n * taps + t) * output.c + c) * area;
      for (int64_t i = 0; i < area; ++i) {
        const int64_t row = i / output.w + op.taps[t].dy, column = i % output.w + op.taps[t].dx;
        const bool inside = row >= 0 && row < output.h && column >= 0 && column < output.w;
        if (inside) y.values[plane * area + i] += from[row * output.w + column];
      }
    }
  }
  return y;
}

// x, mirrored left to right if `mirror`, at another size, in steps of `row_scale` and `column_scale`.
ReferenceTensor interpolate(const ReferenceTensor& x, bool mirror, const Shape& output, double row_scale,
                            double column_scale) {
  const Shape& in = x.shape;
  ReferenceTensor y{output, std::vector<double>(output.elements())};
  for (int64_t i = 0; i < output.elements(); ++i) {
    const double* plane = x.values.data() + i / (output.h * output.w) * in.h * in.w;
    const Blend rows(half_pixel(i / output.w % output.h, row_scale), in.h);
    const Blend columns(half_pixel(i % output.w, column_scale), in.w);
    const auto value = [&](int64_t row, int64_t column) {
      return plane[row * in.w + (mirror ? in.w - 1 - column : column)];
    };
    y.values[i] = rows(columns(value(rows.low, columns.low), value(rows.low, columns.high)),
                       columns(value(rows.high, columns.low), value(rows.high, columns.high)));
  }
  return y;
}

// One overload for each operation; `at(i)` is input i.
struct Interpret {
  const Safetensors& weights;
  const std::vector<ReferenceTensor>& activations;
  const Node& node;
  const Shape& image;
  const RunInput& input;
  const Shape& output;

  const ReferenceTensor& at(size_t i) const { return activations[node.inputs[i]]; }

  Result<ReferenceTensor> operator()(const Image&) const { return ReferenceTensor{image, {}}; }
  Result<ReferenceTensor> operator()(const Normalize& op) const {
    return normalize(op.config, image, input.pixels, output);
  }
  Result<ReferenceTensor> operator()(const Conv2d& op) const {
    auto y = convolve(weights, op, at(0), output);
    if (y.ok() && op.residual) add(at(1), &*y);
    if (y.ok()) activate(op.activation, &*y);
    return y;
  }
  Result<ReferenceTensor> operator()(const BatchNorm& op) const {
    ReferenceTensor y = at(0);
    DEEPLAB_RETURN_IF_ERROR(batch_norm(weights, op, &y));
    return y;
  }
  Result<ReferenceTensor> operator()(const Activate& op) const {
    ReferenceTensor y = at(0);
    activate(op.activation, &y);
    return y;
  }
  Result<ReferenceTensor> operator()(const Add&) const {
    ReferenceTensor y = at(0);
    for (size_t i = 1; i < node.inputs.size(); ++i) add(at(i), &y);
    return y;
  }
  Result<ReferenceTensor> operator()(const MaxPool& op) const { return max_pool(at(0), op.window, output); }
  Result<ReferenceTensor> operator()(const AveragePool& op) const { return average_pool(at(0), op.window, output); }
  Result<ReferenceTensor> operator()(const GlobalAveragePool&) const { return global_average_pool(at(0), output); }
  Result<ReferenceTensor> operator()(const Concat&) const {
    ReferenceTensor y{output, std::vector<double>(output.elements())};
    int64_t channel = 0;
    for (size_t i = 0; i < node.inputs.size(); channel += at(i++).shape.c) place(at(i), channel, &y);
    return y;
  }
  Result<ReferenceTensor> operator()(const AtrousTaps& op) const { return atrous_taps(weights, op, at(0), output); }
  Result<ReferenceTensor> operator()(const ShiftedAdd& op) const { return shifted_add(op, at(0), output); }
  // The mirrored image, resized.
  Result<ReferenceTensor> operator()(const Resize& op) const {
    return interpolate(at(0), op.mirror, output, 1 / op.scale, 1 / op.scale);
  }
  // The logits, mirrored back, resized.
  Result<ReferenceTensor> operator()(const FuseLogits& op) const {
    const bool max = op.rule == FuseRule::kMax;
    const double share = op.rule == FuseRule::kMean ? 1 / static_cast<double>(node.inputs.size()) : 1;
    ReferenceTensor y{output, std::vector<double>(output.elements(), max ? -INFINITY : 0)};
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const Shape& in = at(k).shape;
      const ReferenceTensor one =
          interpolate(at(k), op.mirrored[k], output, ratio(in.h, output.h), ratio(in.w, output.w));
      for (size_t i = 0; i < one.values.size(); ++i) {
        y.values[i] = max ? std::max(y.values[i], one.values[i]) : y.values[i] + share * one.values[i];
      }
    }
    return y;
  }
  Result<ReferenceTensor> operator()(const GivenLogits&) const {
    return ReferenceTensor{output, {input.logits, input.logits + output.elements()}};
  }
  Result<ReferenceTensor> operator()(const SegmentationHead&) const { return at(0); }
};

}  // namespace

Result<ReferenceTensor> reference_logits(const Graph& graph, const Safetensors& weights, const Shape& image,
                                         const RunInput& input) {
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  const std::vector<NodeId> last_use = last_uses(graph);
  std::vector<ReferenceTensor> activations;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    auto result = std::visit(Interpret{weights, activations, node, image, input, (*shapes)[id]}, node.op);
    if (!result.ok()) return result.status();
    activations.push_back(std::move(*result));
    for (const NodeId input : node.inputs) {
      if (last_use[input] == static_cast<NodeId>(id)) std::vector<double>().swap(activations[input].values);
    }
  }
  return std::move(activations.back());
}

}  // namespace deeplab

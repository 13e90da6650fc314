#include "reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/shapes.h"

namespace deeplab {
namespace {

// Row or column `i` of `count`, which cover `inputs` in steps of `scale`: the two that it lies between, by half-pixel
// centres, and how far it is from the first.
struct Blend {
  int64_t low, high;
  double fraction;

  Blend(int64_t i, int64_t inputs, double scale) {
    const double position = std::max((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0);
    low = std::min(static_cast<int64_t>(std::floor(position)), inputs - 1);
    high = std::min(low + 1, inputs - 1);
    fraction = position - static_cast<double>(low);
  }
  double operator()(double at_low, double at_high) const { return at_low * (1 - fraction) + at_high * fraction; }
};

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

Activation normalize(const ModelConfig& config, const Shape& image, const uint8_t* pixels, const Shape& output) {
  const InputGeometry geometry = input_geometry(config, image.h, image.w);
  Activation y{output, std::vector<double>(output.elements(), 0.0)};
  for (int64_t n = 0; n < output.n; ++n) {
    for (int c = 0; c < 3; ++c) {
      const int64_t channel = image.c == 1 ? 0 : config.bgr ? 2 - c : c;
      const auto pixel = [&](int64_t row, int64_t column) {
        return static_cast<double>(pixels[((n * image.h + row) * image.w + column) * image.c + channel]);
      };
      for (int64_t i = 0; i < geometry.height; ++i) {
        const Blend rows(i, image.h, ratio(image.h, geometry.height));
        for (int64_t j = 0; j < geometry.width; ++j) {
          const Blend columns(j, image.w, ratio(image.w, geometry.width));
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

Activation convolve(const Activation& x, const std::vector<double>& kernel, const Window& window, const Shape& output) {
  Activation y{output, std::vector<double>(output.elements(), 0.0)};
  Shape in = x.shape, out = output;
  const bool pointwise = window.kernel == 1 && window.stride == 1 && window.padding == 0;
  if (pointwise) in = {in.n, in.c, 1, in.h * in.w}, out = {out.n, out.c, 1, out.h * out.w};  // one long row is faster
  const WindowExtent row_extent = window_extent(window, in.h), column_extent = window_extent(window, in.w);
  const int64_t size = window.kernel, taps = size * size;
#pragma omp parallel for
  for (int64_t plane = 0; plane < out.n * out.c; ++plane) {
    const int64_t n = plane / out.c, o = plane % out.c;
    double* to = y.values.data() + plane * out.h * out.w;
    for (int64_t i = 0; i < in.c; ++i) {
      const double* from = x.values.data() + (n * in.c + i) * in.h * in.w;
      for (int64_t k = 0; k < taps; ++k) {
        const Reach rows(window, row_extent, k / size, in.h), columns(window, column_extent, k % size, in.w);
        add_product(from, in.w, kernel[(o * in.c + i) * taps + k], rows, columns, window.stride, to, out.w);
      }
    }
  }
  return y;
}

Activation max_pool(const Activation& x, const Window& window, const Shape& output) {
  Activation y{output, std::vector<double>(output.elements(), -std::numeric_limits<double>::infinity())};
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

void add(const Activation& x, Activation* y) {
  for (size_t i = 0; i < y->values.size(); ++i) y->values[i] += x.values[i];
}

void relu(Activation* x) {
  for (double& value : x->values) value = std::max(value, 0.0);
}

// y = scale * x + shift, by channel.
void scale_channels(const std::vector<double>& scale, const std::vector<double>& shift, Activation* x) {
  const int64_t area = x->shape.h * x->shape.w;
  for (size_t i = 0; i < x->values.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / area % x->shape.c;
    x->values[i] = x->values[i] * scale[channel] + shift[channel];
  }
}

Status batch_norm(const Safetensors& weights, const BatchNorm& op, Activation* x) {
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

// Without the residual and the ReLU.
Result<Activation> convolve(const Safetensors& weights, const Conv2d& op, const Activation& x, const Shape& output) {
  auto kernel = weights.read_f32(op.weight, {op.out_channels, op.in_channels, op.window.kernel, op.window.kernel});
  if (!kernel.ok()) return kernel.status();
  Activation y = convolve(x, std::vector<double>(kernel->begin(), kernel->end()), op.window, output);
  if (!op.bias.empty()) {
    auto bias = weights.read_f32(op.bias, {op.out_channels});
    if (!bias.ok()) return bias.status();
    scale_channels(std::vector<double>(op.out_channels, 1.0), std::vector<double>(bias->begin(), bias->end()), &y);
  }
  if (op.batch_norm) DEEPLAB_RETURN_IF_ERROR(batch_norm(weights, *op.batch_norm, &y));
  return y;
}

// products[tap] = sum over the branches that have this tap of x times the branch's kernel there.
Result<Activation> atrous_taps(const Safetensors& weights, const AtrousTaps& op, const Activation& x,
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
  Activation y = convolve(x, kernel, Window{}, output);
  scale_channels(std::vector<double>(output.c, 1.0), bias, &y);
  return y;
}

Activation shifted_add(const ShiftedAdd& op, const Activation& products, const Shape& output) {
  Activation y{output, std::vector<double>(output.elements(), 0.0)};
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
Activation interpolate(const Activation& x, bool mirror, const Shape& output, double row_scale, double column_scale) {
  const Shape& in = x.shape;
  Activation y{output, std::vector<double>(output.elements())};
  for (int64_t i = 0; i < output.elements(); ++i) {
    const double* plane = x.values.data() + i / (output.h * output.w) * in.h * in.w;
    const Blend rows(i / output.w % output.h, in.h, row_scale), columns(i % output.w, in.w, column_scale);
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
  const std::vector<Activation>& activations;
  const Node& node;
  const Shape& image;
  const uint8_t* pixels;
  const Shape& output;

  const Activation& at(size_t i) const { return activations[node.inputs[i]]; }

  Result<Activation> operator()(const Image&) const { return Activation{image, {}}; }
  Result<Activation> operator()(const Normalize& op) const { return normalize(op.config, image, pixels, output); }
  Result<Activation> operator()(const Conv2d& op) const {
    auto y = convolve(weights, op, at(0), output);
    if (y.ok() && op.residual) add(at(1), &*y);
    if (y.ok() && op.relu) relu(&*y);
    return y;
  }
  Result<Activation> operator()(const BatchNorm& op) const {
    Activation y = at(0);
    DEEPLAB_RETURN_IF_ERROR(batch_norm(weights, op, &y));
    return y;
  }
  Result<Activation> operator()(const Relu&) const {
    Activation y = at(0);
    relu(&y);
    return y;
  }
  Result<Activation> operator()(const Add&) const {
    Activation y = at(0);
    for (size_t i = 1; i < node.inputs.size(); ++i) add(at(i), &y);
    return y;
  }
  Result<Activation> operator()(const MaxPool& op) const { return max_pool(at(0), op.window, output); }
  Result<Activation> operator()(const AtrousTaps& op) const { return atrous_taps(weights, op, at(0), output); }
  Result<Activation> operator()(const ShiftedAdd& op) const { return shifted_add(op, at(0), output); }
  // The mirrored image, resized.
  Result<Activation> operator()(const Resize& op) const {
    return interpolate(at(0), op.mirror, output, 1 / op.scale, 1 / op.scale);
  }
  // The logits, mirrored back, resized.
  Result<Activation> operator()(const FuseScales& op) const {
    Activation y{output, {}};
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const Shape& in = at(k).shape;
      const Activation one = interpolate(at(k), op.mirrored[k], output, ratio(in.h, output.h), ratio(in.w, output.w));
      if (k == 0) y.values.assign(one.values.size(), op.rule == FuseRule::kMean ? 0.0 : -INFINITY);
      for (size_t i = 0; i < one.values.size(); ++i) {
        if (op.rule == FuseRule::kMean) {
          y.values[i] += one.values[i] / static_cast<double>(node.inputs.size());
        } else {
          y.values[i] = std::max(y.values[i], one.values[i]);
        }
      }
    }
    return y;
  }
  Result<Activation> operator()(const SegmentationHead&) const { return at(0); }
};

}  // namespace

Result<Activation> reference_logits(const Graph& graph, const Safetensors& weights, const Shape& image,
                                    const uint8_t* pixels) {
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  const std::vector<NodeId> last_use = last_uses(graph);
  std::vector<Activation> activations;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    auto result = std::visit(Interpret{weights, activations, node, image, pixels, (*shapes)[id]}, node.op);
    if (!result.ok()) return result.status();
    activations.push_back(std::move(*result));
    for (const NodeId input : node.inputs) {
      if (last_use[input] == static_cast<NodeId>(id)) std::vector<double>().swap(activations[input].values);
    }
  }
  return std::move(activations.back());
}

ReferenceLabels reference_labels(const ModelConfig& config, const Shape& image, const Activation& logits) {
  const InputGeometry geometry = input_geometry(config, image.h, image.w);
  // From the image through the resized image to the logits' grid, which covers the padded one.
  const double row_scale = ratio(geometry.height, image.h) * ratio(logits.shape.h, geometry.padded_height);
  const double column_scale = ratio(geometry.width, image.w) * ratio(logits.shape.w, geometry.padded_width);
  const int64_t classes = logits.shape.c, area = image.h * image.w, grid = logits.shape.h * logits.shape.w;
  const Shape full{image.n, classes, image.h, image.w};
  ReferenceLabels result{std::vector<uint8_t>(image.n * area),
                         std::vector<double>(image.n * area),
                         {full, std::vector<double>(full.elements())}};
#pragma omp parallel for
  for (int64_t i = 0; i < image.n * area; ++i) {
    const int64_t n = i / area, y = i % area / image.w, x = i % image.w;
    const Blend rows(y, logits.shape.h, row_scale), columns(x, logits.shape.w, column_scale);
    std::vector<double> pixel(classes);
    for (int64_t c = 0; c < classes; ++c) {
      const double* plane = logits.values.data() + (n * classes + c) * grid;
      const double *low = plane + rows.low * logits.shape.w, *high = plane + rows.high * logits.shape.w;
      pixel[c] = rows(columns(low[columns.low], low[columns.high]), columns(high[columns.low], high[columns.high]));
    }
    const auto best = std::max_element(pixel.begin(), pixel.end());
    double second = -std::numeric_limits<double>::infinity(), sum = 0;
    for (auto value = pixel.begin(); value != pixel.end(); ++value) {
      if (value != best) second = std::max(second, *value);
      sum += std::exp(*value - *best);
    }
    result.labels[i] = static_cast<uint8_t>(best - pixel.begin());
    result.margins[i] = *best - second;
    double* scores = result.scores.values.data() + n * classes * area + i % area;
    for (int64_t c = 0; c < classes; ++c) scores[c * area] = std::exp(pixel[c] - *best) / sum;
  }
  return result;
}

}  // namespace deeplab

#include "backend/cuda/layers.h"

#include <cmath>
#include <cstring>

#include "backend/cuda/layer_kernels.h"
#include "backend/cuda/table.h"
#include "graph/scales.h"

namespace deeplab::cuda {
namespace {

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

// body(T(), number of channels) for what a normalized image is in memory.
template <typename Body>
auto with_image(Precision precision, const Body& body) {
  return with_element(precision, [&](auto element) {
    using T = decltype(element);
    constexpr Precision kPrecision = std::is_same_v<T, BF16> ? Precision::kBF16 : Precision::kF16;  // f32 has as many
    return body(element, std::integral_constant<int, static_cast<int>(image_channels(kPrecision))>());
  });
}

// The convolution of `spec`, with the residual as second input where it has one.
template <typename Op>
Result<Step> convolution_step(const LayerCompiler& compiler, const std::string& name, const Op& op,
                              const ConvSpec& spec) {
  auto weights = compiler.weights.get(op, spec.in_channels);
  if (!weights.ok()) return weights.status();
  auto convolution = compiler.convolutions.compile(spec);
  if (!convolution.ok()) {
    return error(convolution.status().code(), "layer ", name, ": ", convolution.status().message());
  }
  Step step;
  step.implementation = (*convolution)->implementation();
  step.milliseconds = (*convolution)->milliseconds();
  step.cached = (*convolution)->cached();
  step.scratch_bytes = (*convolution)->workspace_bytes();
  step.run = [convolution = *convolution, weights = *weights, residual = spec.residual](const StepContext& context,
                                                                                        const StepMemory& memory) {
    ConvArguments arguments;
    arguments.input = context.at<void>(memory.inputs[0]);
    arguments.kernel = weights->kernel.data();
    arguments.bias = weights->bias.data();
    if (residual) arguments.residual = context.at<void>(memory.inputs[1]);
    arguments.output = context.at<void>(memory.output);
    arguments.workspace = context.at<void>(memory.scratch);
    return convolution->run(context.stream, arguments);
  };
  return step;
}

}  // namespace

ConvSpec conv_spec(Precision precision, const Window& window, const Shape& input, int64_t in_channels,
                   const Shape& output) {
  const WindowExtent vertical = window_extent(window, input.h), horizontal = window_extent(window, input.w);
  ConvSpec spec;
  spec.precision = precision;
  spec.n = input.n;
  spec.in_channels = in_channels;
  spec.in_height = input.h;
  spec.in_width = input.w;
  spec.out_channels = padded_channels(output.c);
  spec.out_height = output.h;
  spec.out_width = output.w;
  spec.kernel = window.kernel;
  spec.stride = window.stride;
  spec.dilation = window.dilation;
  spec.padding_top = vertical.padding_before;
  spec.padding_bottom = vertical.padding_after;
  spec.padding_left = horizontal.padding_before;
  spec.padding_right = horizontal.padding_after;
  return spec;
}

// [out,in,kernel,kernel] -> [out,kernel,kernel,in], or [channels,1,kernel,kernel] -> [kernel,kernel,channels], in the
// precision's elements, channels filled up with zeros.
Result<std::shared_ptr<const DeviceConv>> DeviceWeights::upload(const std::string& name, const ConvWeights& weights,
                                                                int64_t in_channels, bool depthwise) const {
  const int64_t out = weights.dims[0], in = weights.dims[1], area = weights.dims[2] * weights.dims[3];
  const int64_t padded_out = padded_channels(out);
  auto conv = std::make_shared<DeviceConv>();
  const Status status = with_element(precision_, [&](auto element) -> Status {
    using T = decltype(element);
    std::vector<T> kernel(padded_out * area * (depthwise ? 1 : in_channels), from_float<T>(0.0f));
    std::vector<T> bias(padded_out, from_float<T>(0.0f));
    bool finite = true;
    const auto convert = [&](float value) {
      const T converted = from_float<T>(value);
      finite = finite && std::isfinite(to_float(converted));
      return converted;
    };
    for (int64_t o = 0; o < out; ++o) {
      bias[o] = convert(weights.bias[o]);
      for (int64_t i = 0; i < in; ++i) {
        const float* from = weights.kernel.data() + (o * in + i) * area;
        for (int64_t k = 0; k < area; ++k) {
          const int64_t to = depthwise ? k * padded_out + o : (o * area + k) * in_channels + i;
          kernel[to] = convert(from[k]);
        }
      }
    }
    if (!finite) {
      return error(Code::kUnsupportedPrecision, "the weights '", name, "' are too large for ",
                   precision_name(precision_), "; bf16 and f32 can hold them");
    }
    DEEPLAB_RETURN_IF_ERROR(conv->kernel.allocate(kernel.size() * sizeof(T), "a layer's weights"));
    DEEPLAB_RETURN_IF_ERROR(conv->bias.allocate(bias.size() * sizeof(T), "a layer's weights"));
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream_, conv->kernel.data(), kernel.data(), kernel.size() * sizeof(T)));
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream_, conv->bias.data(), bias.data(), bias.size() * sizeof(T)));
    return synchronize(stream_);
  });
  if (!status.ok()) return status;
  return std::shared_ptr<const DeviceConv>(std::move(conv));
}

Result<Step> compile_normalize(const LayerCompiler& compiler, const Normalize& op, const Shape& image) {
  const ModelConfig& config = op.config;
  const InputGeometry geometry = input_geometry(config, image.h, image.w);
  const auto taps =
      upload_taps(compiler.stream, bilinear_taps(geometry.height, image.h, ratio(image.h, geometry.height)),
                  bilinear_taps(geometry.width, image.w, ratio(image.w, geometry.width)));
  if (!taps.ok()) return taps.status();
  return with_image(compiler.precision, [&, taps = *taps](auto element, auto channels) {
    using T = decltype(element);
    NormalizeKernel<T, channels> kernel{};
    kernel.image_height = image.h;
    kernel.image_width = image.w;
    kernel.image_channels = image.c;
    kernel.resized_height = geometry.height;
    kernel.resized_width = geometry.width;
    kernel.height = geometry.padded_height;
    kernel.width = geometry.padded_width;
    kernel.rows = taps.rows();
    kernel.columns = taps.columns();
    kernel.bgr = config.bgr;
    kernel.value_scale = config.value_scale;
    for (int c = 0; c < 3; ++c) {
      kernel.mean[c] = config.mean[c];
      kernel.std[c] = config.std[c];
    }
    const int64_t pixels = image.n * geometry.padded_height * geometry.padded_width;
    return Step{"kernel", 0, false, 0,
                [kernel, pixels, taps](const StepContext& context, const StepMemory& memory) mutable {
                  kernel.pixels = context.pixels;
                  kernel.output = context.at<Eight<T>>(memory.output);
                  return launch(context.stream, pixels, kernel);
                }};
  });
}

Result<Step> compile_resize(const LayerCompiler& compiler, const Resize& op, const Shape& input, const Shape& output) {
  const auto taps = upload_taps(compiler.stream, resize_taps(output.h, input.h, op.scale, false),
                                resize_taps(output.w, input.w, op.scale, op.mirror));
  if (!taps.ok()) return taps.status();
  return with_image(compiler.precision, [&, taps = *taps](auto element, auto channels) {
    using T = decltype(element);
    ResizeKernel<T, channels> kernel{};
    kernel.in_height = input.h;
    kernel.in_width = input.w;
    kernel.height = output.h;
    kernel.width = output.w;
    kernel.rows = taps.rows();
    kernel.columns = taps.columns();
    const int64_t pixels = output.n * output.h * output.w;
    return Step{"kernel", 0, false, 0,
                [kernel, pixels, taps](const StepContext& context, const StepMemory& memory) mutable {
                  kernel.input = context.at<const Eight<T>>(memory.inputs[0]);
                  kernel.output = context.at<Eight<T>>(memory.output);
                  return launch(context.stream, pixels, kernel);
                }};
  });
}

Result<Step> compile_fuse_logits(const LayerCompiler& compiler, const FuseLogits& op,
                                 const std::vector<Shape>& inputs) {
  static_assert(FuseLogitsKernel::kMost >= 2 * kMaxScales);
  if (inputs.size() > FuseLogitsKernel::kMost) {
    return error(Code::kUnsupportedModel, "the logits of ", inputs.size(), " branches are fused, and the CUDA backend ",
                 "fuses at most ", FuseLogitsKernel::kMost);
  }
  const Shape& grid = inputs[0];
  FuseLogitsKernel kernel{};
  kernel.count = static_cast<int>(inputs.size());
  kernel.rule = op.rule;
  kernel.height = grid.h;
  kernel.width = grid.w;
  kernel.classes = grid.c;
  std::vector<DeviceTaps> tables;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const auto taps = upload_taps(compiler.stream, fuse_taps(grid.h, inputs[k].h, false),
                                  fuse_taps(grid.w, inputs[k].w, op.mirrored[k]));
    if (!taps.ok()) return taps.status();
    kernel.inputs[k] = {nullptr, inputs[k].h, inputs[k].w, taps->rows(), taps->columns()};
    tables.push_back(*taps);
  }
  return Step{
      "kernel", 0, false, 0,
      [kernel, tables, threads = grid.elements()](const StepContext& context, const StepMemory& memory) mutable {
        for (int k = 0; k < kernel.count; ++k) {
          kernel.inputs[k].logits = context.at<const float>(memory.inputs[k]);
        }
        kernel.output = context.at<float>(memory.output);
        return launch(context.stream, threads, kernel);
      }};
}

Result<Step> compile_convolution(const LayerCompiler& compiler, const std::string& name, const Conv2d& op,
                                 const Shape& input, int64_t in_channels, const Shape& output) {
  ConvSpec spec = conv_spec(compiler.precision, op.window, input, in_channels, output);
  spec.residual = op.residual;
  spec.relu = op.activation != Activation::kNone;
  return convolution_step(compiler, name, op, spec);
}

Result<Step> compile_atrous_taps(const LayerCompiler& compiler, const std::string& name, const AtrousTaps& op,
                                 const Shape& input, int64_t in_channels, const Shape& output) {
  return convolution_step(compiler, name, op, conv_spec(compiler.precision, {}, input, in_channels, output));
}

Result<Step> compile_shifted_add(const LayerCompiler& compiler, const ShiftedAdd& op, const Shape& products,
                                 const Shape& output) {
  auto taps = upload_table(compiler.stream, op.taps);
  if (!taps.ok()) return taps.status();
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    ShiftedAddKernel<T> kernel{};
    kernel.stride = padded_channels(products.c);
    kernel.taps = (*taps)->template as<Tap>();
    kernel.tap_count = static_cast<int64_t>(op.taps.size());
    kernel.height = output.h;
    kernel.width = output.w;
    kernel.classes = output.c;
    return Step{"kernel", 0, false, 0,
                [kernel, taps = *taps, threads = output.elements()](const StepContext& context,
                                                                    const StepMemory& memory) mutable {
                  kernel.products = context.at<const T>(memory.inputs[0]);
                  kernel.logits = context.at<float>(memory.output);
                  return launch(context.stream, threads, kernel);
                }};
  });
}

Step compile_given_logits(const Shape& output) {
  GivenLogitsKernel kernel{nullptr, output.h * output.w, output.c, nullptr};
  return Step{"kernel", 0, false, 0,
              [kernel, threads = output.elements()](const StepContext& context, const StepMemory& memory) mutable {
                kernel.given = context.given;
                kernel.logits = context.at<float>(memory.output);
                return launch(context.stream, threads, kernel);
              }};
}

}  // namespace deeplab::cuda

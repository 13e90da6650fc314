// Depthwise convolution and pooling as steps.
#include <cmath>

#include "backend/cuda/layers.h"
#include "backend/cuda/window_kernels.h"

namespace deeplab::cuda {

WindowGeometry window_geometry(const Window& window, const Shape& input, int64_t in_channels, const Shape& output) {
  return {input.h,
          input.w,
          in_channels / 8,
          output.h,
          output.w,
          padded_channels(output.c) / 8,
          window.kernel,
          window.stride,
          window.dilation,
          window_extent(window, input.h).padding_before,
          window_extent(window, input.w).padding_before};
}

namespace {

int64_t threads_of(const Shape& output) { return output.n * output.h * output.w * padded_channels(output.c) / 8; }

// `Kernel` is MaxPoolKernel or AveragePoolKernel.
template <template <typename> class Kernel>
Step pooling_step(const LayerCompiler& compiler, const Window& window, const Shape& input, int64_t in_channels,
                  const Shape& output) {
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    Kernel<T> kernel{window_geometry(window, input, in_channels, output), nullptr, nullptr};
    return Step{"kernel", 0, false, 0,
                [kernel, threads = threads_of(output)](const StepContext& context, const StepMemory& memory) mutable {
                  kernel.input = context.at<const Eight<T>>(memory.inputs[0]);
                  kernel.output = context.at<Eight<T>>(memory.output);
                  return launch(context.stream, threads, kernel);
                }};
  });
}

}  // namespace

Result<Step> compile_depthwise(const LayerCompiler& compiler, const Conv2d& op, const Shape& input, int64_t in_channels,
                               const Shape& output, bool bounds_input) {
  auto weights = compiler.weights.get(op, in_channels);
  if (!weights.ok()) return weights.status();
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    DepthwiseKernel<T> kernel{};
    kernel.window = window_geometry(op.window, input, in_channels, output);
    kernel.kernel = (*weights)->kernel.template as<Eight<T>>();
    kernel.bias = (*weights)->bias.template as<Eight<T>>();
    kernel.input_bound = bounds_input ? kRelu6Bound : INFINITY;
    kernel.activation = op.activation;
    return Step{"kernel", 0, false, 0,
                [kernel, weights = *weights, threads = threads_of(output)](const StepContext& context,
                                                                           const StepMemory& memory) mutable {
                  kernel.input = context.at<const Eight<T>>(memory.inputs[0]);
                  kernel.output = context.at<Eight<T>>(memory.output);
                  return launch(context.stream, threads, kernel);
                }};
  });
}

Step bounded(const LayerCompiler& compiler, Step step, const Shape& output) {
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    step.run = [run = std::move(step.run), threads = threads_of(output)](const StepContext& context,
                                                                         const StepMemory& memory) {
      DEEPLAB_RETURN_IF_ERROR(run(context, memory));
      return launch(context.stream, threads, ClipKernel<T>{context.at<Eight<T>>(memory.output)});
    };
    return std::move(step);
  });
}

Step compile_max_pool(const LayerCompiler& compiler, const MaxPool& op, const Shape& input, int64_t in_channels,
                      const Shape& output) {
  return pooling_step<MaxPoolKernel>(compiler, op.window, input, in_channels, output);
}

Step compile_average_pool(const LayerCompiler& compiler, const AveragePool& op, const Shape& input, int64_t in_channels,
                          const Shape& output) {
  return pooling_step<AveragePoolKernel>(compiler, op.window, input, in_channels, output);
}

}  // namespace deeplab::cuda

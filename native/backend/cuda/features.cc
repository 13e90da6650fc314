// Image-level features and the concatenation of branches as steps.
#include "backend/cuda/feature_kernels.h"
#include "backend/cuda/layers.h"

namespace deeplab::cuda {

Step compile_global_average_pool(const LayerCompiler& compiler, const Shape& input, int64_t in_channels) {
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    GlobalAveragePoolKernel<T> kernel{nullptr, input.h * input.w, in_channels / 8, padded_channels(input.c), nullptr};
    const int64_t blocks = input.n * kernel.groups(kernel.channels);
    return Step{"kernel", 0, false, 0, [kernel, blocks](const StepContext& context, const StepMemory& memory) mutable {
                  kernel.input = context.at<const Eight<T>>(memory.inputs[0]);
                  kernel.output = context.at<T>(memory.output);
                  return launch_blocks(context.stream, blocks, kernel);
                }};
  });
}

Step compile_concat(const LayerCompiler& compiler, const std::vector<Shape>& inputs,
                    const std::vector<int64_t>& in_channels, const Shape& output) {
  return with_element(compiler.precision, [&](auto element) {
    using T = decltype(element);
    const int64_t area = output.h * output.w, out_channels = padded_channels(output.c);
    std::vector<ConcatKernel<T>> kernels;
    int64_t first = 0;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const bool last = k + 1 == inputs.size(), repeated = inputs[k].h == 1 && inputs[k].w == 1;
      const int64_t end = first + inputs[k].c;
      kernels.push_back(
          {nullptr, in_channels[k] / 8, repeated, area, first, last ? out_channels : end, out_channels, nullptr});
      first = end;
    }
    return Step{"kernel", 0, false, 0,
                [kernels, pixels = output.n * area](const StepContext& context, const StepMemory& memory) mutable {
                  for (size_t k = 0; k < kernels.size(); ++k) {
                    kernels[k].input = context.at<const Eight<T>>(memory.inputs[k]);
                    kernels[k].output = context.at<T>(memory.output);
                    DEEPLAB_RETURN_IF_ERROR(launch(context.stream, pixels * kernels[k].eights(), kernels[k]));
                  }
                  return Status();
                }};
  });
}

}  // namespace deeplab::cuda

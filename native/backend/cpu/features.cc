// Image-level features and the concatenation of branches (DeepLab v3's ASPP).
#include <algorithm>
#include <vector>

#include "backend/cpu/element.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"

namespace deeplab {
namespace {

constexpr int64_t kChannelBlock = 64;

// Element type T; uint16_t holds bf16.
template <typename T>
Run global_average_pool(const Shape& input) {
  return [input](const StepContext& context, const StepMemory& at) {
    const int64_t blocks = (input.c + kChannelBlock - 1) / kChannelBlock, area = input.h * input.w;
    parallel_for(input.n * blocks, [&](int64_t i) {
      const int64_t n = i / blocks, first = i % blocks * kChannelBlock;
      const int64_t count = std::min(kChannelBlock, input.c - first);
      double sums[kChannelBlock] = {};
      const T* image = context.at<T>(at.inputs[0]) + n * area * input.c + first;
      for (int64_t pixel = 0; pixel < area; ++pixel) {
        for (int64_t c = 0; c < count; ++c) sums[c] += read_element(image[pixel * input.c + c]);
      }
      T* out = context.at<T>(at.output) + n * input.c + first;
      for (int64_t c = 0; c < count; ++c) write_element(out + c, static_cast<float>(sums[c] / area));
    });
  };
}

template <typename T>
Run concat(const std::vector<Shape>& inputs, const Shape& output) {
  return [inputs, output](const StepContext& context, const StepMemory& at) {
    parallel_for(output.n * output.h, [&](int64_t i) {
      T* const row = context.at<T>(at.output) + i * output.w * output.c;
      int64_t channel = 0;
      for (size_t k = 0; k < inputs.size(); ++k) {
        const int64_t channels = inputs[k].c;
        const bool pixel = inputs[k].h == 1 && inputs[k].w == 1;
        const T* from = context.at<T>(at.inputs[k]) + (pixel ? i / output.h : i * output.w) * channels;
        for (int64_t x = 0; x < output.w; ++x) {
          std::copy_n(from + (pixel ? 0 : x * channels), channels, row + x * output.c + channel);
        }
        channel += channels;
      }
    });
  };
}

}  // namespace

Step compile_global_average_pool(const Shape& input, Precision precision) {
  const bool bf16 = precision == Precision::kBF16;
  return {"loop", 0, bf16 ? global_average_pool<uint16_t>(input) : global_average_pool<float>(input)};
}

Step compile_concat(const std::vector<Shape>& inputs, const Shape& output, Precision precision) {
  const bool bf16 = precision == Precision::kBF16;
  return {"loop", 0, bf16 ? concat<uint16_t>(inputs, output) : concat<float>(inputs, output)};
}

}  // namespace deeplab

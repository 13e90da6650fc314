#include <algorithm>
#include <limits>

#include "backend/bilinear.h"
#include "backend/cpu/element.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"

namespace deeplab {
namespace {

// Element type T; uint16_t holds bf16.
template <typename T>
Run resize(const Resize& op, const Shape& input, const Shape& output) {
  return [input, output, rows = resize_taps(output.h, input.h, op.scale, false),
          columns = resize_taps(output.w, input.w, op.scale, op.mirror)](const StepContext& context,
                                                                         const StepMemory& at) {
    parallel_for(output.n * output.h, [&](int64_t i) {
      const BilinearTap& row = rows[i % output.h];
      const T* image = context.at<T>(at.inputs[0]) + i / output.h * input.h * input.w * input.c;
      const T *top = image + row.low * input.w * input.c, *bottom = image + row.high * input.w * input.c;
      T* out = context.at<T>(at.output) + i * output.w * output.c;
      for (const BilinearTap& column : columns) {
        for (int64_t c = 0; c < input.c; ++c) {
          const int64_t low = column.low * input.c + c, high = column.high * input.c + c;
          const float above =
              read_element(top[low]) + (read_element(top[high]) - read_element(top[low])) * column.fraction;
          const float below =
              read_element(bottom[low]) + (read_element(bottom[high]) - read_element(bottom[low])) * column.fraction;
          write_element(out++, above + (below - above) * row.fraction);
        }
      }
    });
  };
}

// Logits of one input, [N,h,w,classes], and where the first one's grid lies in theirs.
struct Scale {
  Shape shape;
  std::vector<BilinearTap> rows, columns;

  // fuse(fused, value) for every logit of row i of all images' rows.
  template <typename Fuse>
  void for_each_logit(const float* logits, int64_t i, float* fused, const Fuse& fuse) const {
    const auto grid_height = static_cast<int64_t>(rows.size());
    const BilinearTap& row = rows[i % grid_height];
    const float* image = logits + i / grid_height * shape.h * shape.w * shape.c;
    const float *top = image + row.low * shape.w * shape.c, *bottom = image + row.high * shape.w * shape.c;
    for (const BilinearTap& column : columns) {
      for (int64_t c = 0; c < shape.c; ++c) {
        const int64_t low = column.low * shape.c + c, high = column.high * shape.c + c;
        const float left = top[low] + (bottom[low] - top[low]) * row.fraction;
        const float right = top[high] + (bottom[high] - top[high]) * row.fraction;
        fuse(*fused++, left + (right - left) * column.fraction);
      }
    }
  }
};

}  // namespace

Step compile_resize(const Resize& op, const Shape& input, const Shape& output, Precision precision) {
  const bool bf16 = precision == Precision::kBF16;
  return {"loop", 0, bf16 ? resize<uint16_t>(op, input, output) : resize<float>(op, input, output)};
}

Step compile_fuse_logits(const FuseLogits& op, const std::vector<Shape>& inputs) {
  const Shape grid = inputs[0];
  std::vector<Scale> scales;
  for (size_t i = 0; i < inputs.size(); ++i) {
    scales.push_back(
        {inputs[i], fuse_taps(grid.h, inputs[i].h, false), fuse_taps(grid.w, inputs[i].w, op.mirrored[i])});
  }
  return {"loop", 0, [rule = op.rule, grid, scales](const StepContext& context, const StepMemory& at) {
            const auto count = static_cast<float>(scales.size());
            parallel_for(grid.n * grid.h, [&](int64_t i) {
              const int64_t row = grid.w * grid.c;
              float* out = context.at<float>(at.output) + i * row;
              const bool max = rule == FuseRule::kMax;
              std::fill_n(out, row, max ? -std::numeric_limits<float>::infinity() : 0.0f);
              for (size_t k = 0; k < scales.size(); ++k) {
                scales[k].for_each_logit(context.at<float>(at.inputs[k]), i, out, [&](float& fused, float value) {
                  fused = max ? std::max(fused, value) : fused + value;
                });
              }
              if (rule == FuseRule::kMean) std::for_each(out, out + row, [&](float& fused) { fused /= count; });
            });
          }};
}

}  // namespace deeplab

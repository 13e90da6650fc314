#include "backend/bilinear.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"

namespace deeplab {
namespace {

float read(float value) { return value; }
float read(uint16_t value) { return float_from_bf16(value); }
void write(float* out, float value) { *out = value; }
void write(uint16_t* out, float value) { *out = bf16_from_float(value); }

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
          const float above = read(top[low]) + (read(top[high]) - read(top[low])) * column.fraction;
          const float below = read(bottom[low]) + (read(bottom[high]) - read(bottom[low])) * column.fraction;
          write(out++, above + (below - above) * row.fraction);
        }
      }
    });
  };
}

// The logits of one scale on the grid of the first.
struct Scale {
  Shape shape;
  std::vector<BilinearTap> rows, columns;
};

}  // namespace

Step compile_resize(const Resize& op, const Shape& input, const Shape& output, Precision precision) {
  const bool bf16 = precision == Precision::kBF16;
  return {"loop", 0, bf16 ? resize<uint16_t>(op, input, output) : resize<float>(op, input, output)};
}

Step compile_fuse_scales(const FuseScales& op, const std::vector<Shape>& inputs) {
  const Shape grid = inputs[0];
  std::vector<Scale> scales;
  for (size_t i = 0; i < inputs.size(); ++i) {
    scales.push_back(
        {inputs[i], fuse_taps(grid.h, inputs[i].h, false), fuse_taps(grid.w, inputs[i].w, op.mirrored[i])});
  }
  return {"loop", 0, [rule = op.rule, grid, scales](const StepContext& context, const StepMemory& at) {
            parallel_for(grid.n * grid.h, [&](int64_t i) {
              float* out = context.at<float>(at.output) + i * grid.w * grid.c;
              for (size_t k = 0; k < scales.size(); ++k) {
                const Scale& scale = scales[k];
                const BilinearTap& row = scale.rows[i % grid.h];
                const float* logits =
                    context.at<float>(at.inputs[k]) + i / grid.h * scale.shape.h * scale.shape.w * grid.c;
                const float* top = logits + row.low * scale.shape.w * grid.c;
                const float* bottom = logits + row.high * scale.shape.w * grid.c;
                for (int64_t x = 0; x < grid.w; ++x) {
                  const BilinearTap& column = scale.columns[x];
                  for (int64_t c = 0; c < grid.c; ++c) {
                    const int64_t low = column.low * grid.c + c, high = column.high * grid.c + c;
                    const float left = top[low] + (bottom[low] - top[low]) * row.fraction;
                    const float right = top[high] + (bottom[high] - top[high]) * row.fraction;
                    const float value = left + (right - left) * column.fraction;
                    float& fused = out[x * grid.c + c];
                    if (k == 0) {
                      fused = value;
                    } else {
                      fused = rule == FuseRule::kMean ? fused + value : std::max(fused, value);
                    }
                  }
                }
              }
              if (rule != FuseRule::kMean) return;
              const auto count = static_cast<float>(scales.size());
              for (int64_t x = 0; x < grid.w * grid.c; ++x) out[x] /= count;
            });
          }};
}

}  // namespace deeplab

#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"

namespace deeplab {
namespace {

// One row of the output: for each tap, the products of the row dy below, shifted by dx.
void add_row(const float* products, const ShiftedAdd& op, const Shape& shape, int64_t y, float* out) {
  const auto taps = static_cast<int64_t>(op.taps.size());
  const int64_t pixel = taps * op.classes;
  std::fill(out, out + shape.w * op.classes, 0.0f);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t from_y = y + op.taps[tap].dy, dx = op.taps[tap].dx;
    if (from_y < 0 || from_y >= shape.h) continue;
    const float* row = products + from_y * shape.w * pixel + tap * op.classes;
    const int64_t end = std::min(shape.w, shape.w - dx);
    for (int64_t x = std::max<int64_t>(0, -dx); x < end; ++x) {
      for (int64_t c = 0; c < op.classes; ++c) out[x * op.classes + c] += row[(x + dx) * pixel + c];
    }
  }
}

}  // namespace

Step compile_shifted_add(const ShiftedAdd& op, const Shape& output) {
  return {"loop", 0, [op, output](const StepContext& context, const StepMemory& at) {
            const int64_t image = output.h * output.w * op.classes;
            parallel_for(output.n * output.h, [&](int64_t i) {
              const int64_t n = i / output.h, y = i % output.h;
              const float* products =
                  context.at<float>(at.inputs[0]) + n * image * static_cast<int64_t>(op.taps.size());
              add_row(products, op, output, y, context.at<float>(at.output) + n * image + y * output.w * op.classes);
            });
          }};
}

}  // namespace deeplab

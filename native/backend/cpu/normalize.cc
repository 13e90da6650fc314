#include "backend/bilinear.h"
#include "backend/cpu/element.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"

namespace deeplab {
namespace {

// One image row, of element type T (uint16_t holds bf16).
struct RowNormalizer {
  const ModelConfig& config;
  const std::vector<BilinearTap>& columns;
  int64_t channels;

  template <typename T>
  void operator()(const uint8_t* low_row, const uint8_t* high_row, float fraction, T* out) const {
    for (const BilinearTap& column : columns) {
      for (int c = 0; c < 3; ++c) {
        const int channel = config.bgr ? 2 - c : c;
        const int64_t from = channels == 1 ? 0 : channel;
        const int64_t low = column.low * channels + from, high = column.high * channels + from;
        const float top = low_row[low] + static_cast<float>(low_row[high] - low_row[low]) * column.fraction;
        const float bottom = high_row[low] + static_cast<float>(high_row[high] - high_row[low]) * column.fraction;
        const float value = (top + (bottom - top) * fraction) * config.value_scale;
        write_element(out++, (value - config.mean[c]) / config.std[c]);
      }
    }
  }
};

template <typename T>
Run normalize(const ModelConfig& config, const Shape& image, const InputGeometry& geometry) {
  const auto scale = [](int64_t from, int64_t to) { return static_cast<double>(from) / static_cast<double>(to); };
  return [=, rows = bilinear_taps(geometry.height, image.h, scale(image.h, geometry.height)),
          columns = bilinear_taps(geometry.width, image.w, scale(image.w, geometry.width))](const StepContext& context,
                                                                                            const StepMemory& at) {
    const RowNormalizer normalize_row{config, columns, image.c};
    const int64_t out_row = geometry.padded_width * 3, in_row = image.w * image.c;
    parallel_for(image.n * geometry.padded_height, [&](int64_t i) {
      const int64_t n = i / geometry.padded_height, y = i % geometry.padded_height;
      T* out = context.at<T>(at.output) + i * out_row;
      int64_t written = 0;
      if (y < geometry.height) {
        const uint8_t* pixels = context.input.pixels + n * image.h * in_row;
        normalize_row(pixels + rows[y].low * in_row, pixels + rows[y].high * in_row, rows[y].fraction, out);
        written = geometry.width * 3;
      }
      std::fill(out + written, out + out_row, T(0));
    });
  };
}

}  // namespace

Step compile_normalize(const Normalize& op, const Shape& image, Precision precision) {
  const InputGeometry geometry = input_geometry(op.config, image.h, image.w);
  const bool bf16 = precision == Precision::kBF16;
  return {"loop", 0,
          bf16 ? normalize<uint16_t>(op.config, image, geometry) : normalize<float>(op.config, image, geometry)};
}

}  // namespace deeplab

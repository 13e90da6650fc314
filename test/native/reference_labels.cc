#include <limits>

#include "blend.h"
#include "graph/shapes.h"
#include "reference.h"

namespace deeplab {
namespace {

// From pixel `i` of the image through the resized image to the grid of the logits, which covers the padded one.
double position_in_grid(Upsample upsample, int64_t i, int64_t image, int64_t resized, int64_t padded, int64_t grid) {
  const double resized_position = half_pixel(i, ratio(resized, image));
  switch (upsample) {
    // A cell is the area of padded / grid pixels.
    case Upsample::kHalfPixel: return (resized_position + 0.5) * ratio(grid, padded) - 0.5;
    // The last cell lies on the last pixel.
    case Upsample::kAlignCorners: return padded == 1 ? 0 : resized_position * ratio(grid - 1, padded - 1);
    // Cell k lies on pixel k * padded / grid.
    case Upsample::kAsymmetric: return resized_position * ratio(grid, padded);
  }
  return 0;
}

}  // namespace

ReferenceLabels reference_labels(const ModelConfig& config, const Shape& image, const ReferenceTensor& logits) {
  const InputGeometry geometry = input_geometry(config, image.h, image.w);
  const int64_t classes = logits.shape.c, area = image.h * image.w, grid = logits.shape.h * logits.shape.w;
  const Shape full{image.n, classes, image.h, image.w};
  ReferenceLabels result{std::vector<uint8_t>(image.n * area),
                         std::vector<double>(image.n * area),
                         {full, std::vector<double>(full.elements())}};
#pragma omp parallel for
  for (int64_t i = 0; i < image.n * area; ++i) {
    const int64_t n = i / area, y = i % area / image.w, x = i % image.w;
    const Blend rows(
        position_in_grid(config.upsample, y, image.h, geometry.height, geometry.padded_height, logits.shape.h),
        logits.shape.h);
    const Blend columns(
        position_in_grid(config.upsample, x, image.w, geometry.width, geometry.padded_width, logits.shape.w),
        logits.shape.w);
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

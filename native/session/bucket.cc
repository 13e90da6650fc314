#include "session/bucket.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/memory.h"

namespace deeplab {
namespace {

// The colour that normalization makes zero, of an image of `channels`, to the nearest byte. Alpha does not matter.
std::array<uint8_t, 4> mean_color(const ModelConfig& config, int64_t channels) {
  std::array<double, 3> mean{};
  for (int i = 0; i < 3; ++i) mean[config.bgr ? 2 - i : i] = config.mean[i] / config.value_scale;
  if (channels == 1) mean[0] = (mean[0] + mean[1] + mean[2]) / 3;
  std::array<uint8_t, 4> color{};
  for (int i = 0; i < 3; ++i) color[i] = static_cast<uint8_t>(std::lround(std::clamp(mean[i], 0.0, 255.0)));
  color[3] = 255;
  return color;
}

}  // namespace

Shape bucket_of(const BucketRule& rule, const Shape& image) {
  Shape bucket = image;
  if (rule.sizes.empty()) {
    bucket.h = static_cast<int64_t>(round_up(image.h, rule.multiple));
    bucket.w = static_cast<int64_t>(round_up(image.w, rule.multiple));
    return bucket;
  }
  int64_t least = 0;
  for (const ImageSize& size : rule.sizes) {
    const int64_t area = size.width * size.height;
    if (size.width < image.w || size.height < image.h || (least != 0 && area >= least)) continue;
    least = area;
    bucket.w = size.width;
    bucket.h = size.height;
  }
  return bucket;
}

void pad_image(const uint8_t* pixels, const Shape& image, const Shape& size, const ModelConfig& config, uint8_t* out) {
  const std::array<uint8_t, 4> color = mean_color(config, image.c);
  for (int64_t y = 0; y < size.h; ++y) {
    uint8_t* row = out + y * size.w * size.c;
    const int64_t inside = y < image.h ? image.w : 0;
    if (inside > 0) std::copy_n(pixels + y * image.w * image.c, inside * image.c, row);
    for (int64_t x = inside; x < size.w; ++x) std::copy_n(color.data(), size.c, row + x * size.c);
  }
}

}  // namespace deeplab

// Sizes that images are padded to, so that few networks are compiled and images of different sizes ride in one batch.
//
// An image is padded at its right and bottom, in the network's mean colour, which is zero to its first layer. What is
// computed of the padding is cut off; what the network sees beyond an image's edge is the mean colour, and only beyond
// the padding the zeros of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "graph/config.h"

namespace deeplab {

struct ImageSize {
  int64_t width = 0;
  int64_t height = 0;
};

struct BucketRule {
  int64_t multiple = 1;          // sides are rounded up to a multiple of this
  std::vector<ImageSize> sizes;  // if there are any: to the smallest of these that holds the image, or not at all
};

// The size, with the image's channels, to which `image` is padded.
Shape bucket_of(const BucketRule& rule, const Shape& image);

// Writes `pixels`, [H,W,channels] of `image`, padded to `size`, to `out`, [size.h,size.w,channels].
void pad_image(const uint8_t* pixels, const Shape& image, const Shape& size, const ModelConfig& config, uint8_t* out);

// The image's part of each of the `planes` of `padded`, [planes,size.h,size.w], to `out`, [planes,H,W].
template <typename T>
void crop_planes(const T* padded, const Shape& size, int64_t planes, const Shape& image, T* out) {
  for (int64_t row = 0; row < planes * image.h; ++row) {
    const int64_t plane = row / image.h, y = row % image.h;
    const T* from = padded + (plane * size.h + y) * size.w;
    for (int64_t x = 0; x < image.w; ++x) out[row * image.w + x] = from[x];
  }
}

}  // namespace deeplab

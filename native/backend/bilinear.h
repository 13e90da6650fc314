// Bilinear interpolation along one axis. Unless said otherwise with half-pixel centres, as PyTorch's
// align_corners=False: output i lies at (i + 0.5) * scale - 0.5 of the input, clamped to its border.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "graph/config.h"

namespace deeplab {

struct BilinearTap {
  int64_t low = 0;
  int64_t high = 0;
  float fraction = 0;  // value = low + (high - low) * fraction
};

inline BilinearTap tap_at(double position, int64_t inputs) {
  position = std::max(position, 0.0);
  const int64_t low = std::min(static_cast<int64_t>(position), inputs - 1);
  return {low, std::min(low + 1, inputs - 1), static_cast<float>(position - static_cast<double>(low))};
}

// `scale` is in input pixels per output pixel.
inline std::vector<BilinearTap> bilinear_taps(int64_t outputs, int64_t inputs, double scale) {
  std::vector<BilinearTap> taps(outputs);
  for (int64_t i = 0; i < outputs; ++i) taps[i] = tap_at((static_cast<double>(i) + 0.5) * scale - 0.5, inputs);
  return taps;
}

// From a grid of logits to the image: that was resized, then padded, and the grid covers all of it.
inline std::vector<BilinearTap> upsample_taps(Upsample upsample, int64_t image, int64_t resized, int64_t padded,
                                              int64_t grid) {
  const auto ratio = [](int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); };
  if (upsample == Upsample::kHalfPixel) {
    return bilinear_taps(image, grid, ratio(resized, image) * static_cast<double>(grid) / static_cast<double>(padded));
  }
  const bool corners = upsample == Upsample::kAlignCorners;
  const double scale = corners ? ratio(grid - 1, std::max<int64_t>(padded - 1, 1)) : ratio(grid, padded);
  std::vector<BilinearTap> taps(image);
  for (int64_t i = 0; i < image; ++i) {
    const double in_input = (static_cast<double>(i) + 0.5) * ratio(resized, image) - 0.5;
    taps[i] = tap_at(in_input * scale, grid);
  }
  return taps;
}

// Those of an axis that is mirrored first.
inline std::vector<BilinearTap> mirrored_taps(std::vector<BilinearTap> taps, int64_t inputs) {
  for (BilinearTap& tap : taps) tap = {inputs - 1 - tap.low, inputs - 1 - tap.high, tap.fraction};
  return taps;
}

// Of graph/graph.h's Resize, along one axis.
inline std::vector<BilinearTap> resize_taps(int64_t outputs, int64_t inputs, double scale, bool mirror) {
  std::vector<BilinearTap> taps = bilinear_taps(outputs, inputs, 1 / scale);
  return mirror ? mirrored_taps(std::move(taps), inputs) : taps;
}

// Of FuseLogits, from `inputs` cells, mirrored or not, to the first one's `outputs`.
inline std::vector<BilinearTap> fuse_taps(int64_t outputs, int64_t inputs, bool mirrored) {
  const double scale = static_cast<double>(inputs) / static_cast<double>(outputs);
  std::vector<BilinearTap> taps = bilinear_taps(outputs, inputs, scale);
  if (mirrored) std::reverse(taps.begin(), taps.end());
  return taps;
}

}  // namespace deeplab

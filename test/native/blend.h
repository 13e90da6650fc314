// Where the reference interpolates: between which two cells of an axis, and how far it is from the first.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace deeplab {

struct Blend {
  int64_t low, high;
  double fraction;

  // `position` in cells of `inputs`, beyond them the outermost one's.
  Blend(double position, int64_t inputs) {
    position = std::min(std::max(position, 0.0), static_cast<double>(inputs - 1));
    low = static_cast<int64_t>(std::floor(position));
    high = std::min(low + 1, inputs - 1);
    fraction = position - static_cast<double>(low);
  }
  double operator()(double at_low, double at_high) const { return at_low * (1 - fraction) + at_high * fraction; }
};

// Position of row or column `i`, which are in steps of `scale`, by half-pixel centres.
inline double half_pixel(int64_t i, double scale) { return (static_cast<double>(i) + 0.5) * scale - 0.5; }

inline double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

}  // namespace deeplab

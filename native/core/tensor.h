// Shapes and tensors. Activations are [N,C,H,W] by meaning; in which order a device stores them is the device's affair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace deeplab {

// Sizes of a tensor of any rank, outermost first.
using Dims = std::vector<int64_t>;

std::string to_string(const Dims& dims);

// Shape of an activation.
struct Shape {
  int64_t n = 0;  // images
  int64_t c = 0;  // channels
  int64_t h = 0;
  int64_t w = 0;

  int64_t elements() const { return n * c * h * w; }
  bool operator==(const Shape& other) const { return n == other.n && c == other.c && h == other.h && w == other.w; }
  bool operator!=(const Shape& other) const { return !(*this == other); }
};

std::string to_string(const Shape& shape);

// A tensor in somebody else's memory, row-major. `data` may be unaligned for its type.
struct TensorView {
  DType dtype = DType::kF32;
  Dims dims;
  const std::byte* data = nullptr;
  int64_t elements = 0;
};

}  // namespace deeplab

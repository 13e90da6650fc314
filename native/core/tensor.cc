#include "core/tensor.h"

namespace deeplab {

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(dims[i]);
  return text + "]";
}

std::string to_string(const Shape& shape) { return to_string(Dims{shape.n, shape.c, shape.h, shape.w}); }

}  // namespace deeplab

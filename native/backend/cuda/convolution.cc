#include "backend/cuda/convolution.h"

#include <sstream>

namespace deeplab::cuda {

std::string to_string(const ConvSpec& spec) {
  static constexpr const char* kDirections[] = {"", " backward data", " backward filter"};
  std::ostringstream text;
  text << precision_name(spec.precision) << " n" << spec.n << " in" << spec.in_channels << "x" << spec.in_height << "x"
       << spec.in_width << " out" << spec.out_channels << "x" << spec.out_height << "x" << spec.out_width << " k"
       << spec.kernel << " s" << spec.stride << " d" << spec.dilation << " p" << spec.padding_top << ","
       << spec.padding_bottom << "," << spec.padding_left << "," << spec.padding_right << (spec.bias ? "" : " no bias")
       << (spec.residual ? " residual" : "") << (spec.relu ? " relu" : "")
       << kDirections[static_cast<int>(spec.direction)];
  return text.str();
}

}  // namespace deeplab::cuda

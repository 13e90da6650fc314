// Convolutions as plain loops on the host, where cuDNN cannot be: the rest of the CUDA backend runs around them.
#pragma once

#include "backend/cuda/convolution.h"

namespace deeplab::cuda {

class HostCompiler : public ConvolutionCompiler {
 public:
  Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) override;
};

}  // namespace deeplab::cuda

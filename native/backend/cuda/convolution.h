// Convolutions as cuDNN does them, or whoever stands in for it where there is no GPU (test/native).
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace deeplab::cuda {

// y = relu(conv(x) + bias + residual), all NHWC, the kernel [out,kernel,kernel,in] in the precision's element type, the
// bias [out] in f32, sums in f32.
struct ConvSpec {
  Precision precision = Precision::kF16;
  bool f32_output = false;  // else of the precision's element type; so are input and residual
  int64_t n = 1;
  int64_t in_channels = 0;  // a multiple of 4, and of 8 in f16 and bf16
  int64_t in_height = 0;
  int64_t in_width = 0;
  int64_t out_channels = 0;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  // Pixels of zeros that are read before the first row and column and after the last.
  int64_t padding_top = 0;
  int64_t padding_bottom = 0;
  int64_t padding_left = 0;
  int64_t padding_right = 0;
  bool residual = false;
  bool relu = false;
};

// All in device memory.
struct ConvArguments {
  const void* input = nullptr;
  const void* kernel = nullptr;
  const float* bias = nullptr;
  const void* residual = nullptr;  // may be `output`
  void* output = nullptr;
  void* workspace = nullptr;
};

class Convolution {
 public:
  virtual ~Convolution() = default;
  virtual size_t workspace_bytes() const = 0;
  virtual Status run(Stream stream, const ConvArguments& arguments) const = 0;
  // How it is done, in the library's words.
  virtual std::string implementation() const = 0;
  // As timed when it was chosen; 0 where it was not.
  virtual double milliseconds() const = 0;
};

class ConvolutionCompiler {
 public:
  virtual ~ConvolutionCompiler() = default;
  virtual Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) = 0;
};

}  // namespace deeplab::cuda

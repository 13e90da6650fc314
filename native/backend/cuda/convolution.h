// Convolutions as cuDNN does them, or whoever stands in for it where there is no GPU (test/native).
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace deeplab::cuda {

// Channels in memory come in eights, the last ones zero: tensor cores take 16 bytes at once.
constexpr int64_t kChannelMultiple = 8;

// y = relu(conv(x) + bias + residual), ReLU and residual where there are. ReLU6 is no more than that here: of cuDNN's
// engines none that has tensor cores, and comes compiled, knows its upper bound (layers.h). All of the precision's
// element type, activations NHWC, the kernel [out,kernel,kernel,in], the bias [out]; sums in f32.
struct ConvSpec {
  Precision precision = Precision::kF16;
  int64_t n = 1;
  int64_t in_channels = 0;  // both are multiples of kChannelMultiple
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

// A name for all that is in it.
std::string to_string(const ConvSpec& spec);

// All in device memory.
struct ConvArguments {
  const void* input = nullptr;
  const void* kernel = nullptr;
  const void* bias = nullptr;
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
  // As timed when it was chosen; 0 where it was not. Cached: that was earlier, by this or another process.
  virtual double milliseconds() const { return 0; }
  virtual bool cached() const { return false; }
};

class ConvolutionCompiler {
 public:
  virtual ~ConvolutionCompiler() = default;
  virtual Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) = 0;
};

}  // namespace deeplab::cuda

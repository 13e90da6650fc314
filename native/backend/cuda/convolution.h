// Convolutions as cuDNN does them, or whoever stands in for it where there is no GPU (test/native).
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace deeplab::cuda {

// Channels in memory come in eights, the last ones zero: tensor cores take 16 bytes at once.
constexpr int64_t kChannelMultiple = 8;

// Which of a convolution's tensors is computed from the other two; the gradients are of a loss.
enum class ConvDirection {
  kForward,         // y from x and the kernel
  kBackwardData,    // the gradient of x from that of y and the kernel
  kBackwardFilter,  // the gradient of the kernel from x and the gradient of y
};

// y = relu(conv(x) + bias + residual), what of these there is. ReLU6 is no more than that here: of cuDNN's engines none
// that has tensor cores, and comes compiled, knows its upper bound (layers.h). All of the precision's element type,
// activations NHWC, the kernel [out,kernel,kernel,in], the bias [out]; sums in f32.
struct ConvSpec {
  ConvDirection direction = ConvDirection::kForward;
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
  // Forward only.
  bool bias = true;
  bool residual = false;
  bool relu = false;

  int64_t input_elements() const { return n * in_height * in_width * in_channels; }
  int64_t output_elements() const { return n * out_height * out_width * out_channels; }
  int64_t kernel_elements() const { return out_channels * kernel * kernel * in_channels; }
};

// A name for all that is in it.
std::string to_string(const ConvSpec& spec);

// All in device memory; null is what the direction does not read.
struct ConvArguments {
  const void* input = nullptr;  // x
  const void* kernel = nullptr;
  const void* bias = nullptr;
  const void* residual = nullptr;  // may be `output`
  const void* gradient = nullptr;  // of y
  void* output = nullptr;          // what the direction computes
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

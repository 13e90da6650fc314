// A network's layers as steps: layers.cc, window_layers.cc, features.cc.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "backend/cuda/convolution.h"
#include "backend/cuda/step.h"
#include "graph/shapes.h"
#include "graph/weights.h"

namespace deeplab::cuda {

constexpr int64_t padded_channels(int64_t channels) {
  return (channels + kChannelMultiple - 1) / kChannelMultiple * kChannelMultiple;
}

// Of a normalized image: three, and zeros. For 16 channels of bf16 cuDNN has kernels with tensor cores on every card,
// for 8 it has none on some.
constexpr int64_t image_channels(Precision precision) { return precision == Precision::kBF16 ? 16 : 8; }

// Kernel and bias of a convolution on the device: [out,kernel,kernel,in], depthwise [kernel,kernel,channels]; [out].
struct DeviceConv {
  DeviceBuffer kernel;
  DeviceBuffer bias;
};

// The weights of a network, uploaded when they are first needed and shared by its executables.
class DeviceWeights {
 public:
  DeviceWeights(std::shared_ptr<const Safetensors> file, Precision precision, Stream stream)
      : file_(std::move(file)), precision_(precision), stream_(stream) {}

  // Those of an operation, for activations of `in_channels` in memory.
  template <typename Op>
  Result<std::shared_ptr<const DeviceConv>> get(const Op& op, int64_t in_channels) {
    const std::string& name = weights_name(op);
    if (const auto known = convs_.find(name); known != convs_.end()) return known->second;
    auto weights = read_weights(*file_, op);
    if (!weights.ok()) return weights.status();
    auto uploaded = upload(name, *weights, in_channels, is_depthwise(op));
    if (uploaded.ok()) convs_[name] = *uploaded;
    return uploaded;
  }
  void release_pages() const { file_->release_pages(); }
  size_t bytes() const {
    size_t sum = 0;
    for (const auto& [name, conv] : convs_) sum += conv->kernel.size() + conv->bias.size();
    return sum;
  }

 private:
  Result<std::shared_ptr<const DeviceConv>> upload(const std::string& name, const ConvWeights& weights,
                                                   int64_t in_channels, bool depthwise) const;
  static bool is_depthwise(const Conv2d& op) { return op.depthwise; }
  static bool is_depthwise(const AtrousTaps&) { return false; }

  const std::shared_ptr<const Safetensors> file_;
  const Precision precision_;
  const Stream stream_;
  std::map<std::string, std::shared_ptr<const DeviceConv>> convs_;
};

struct LayerCompiler {
  ConvolutionCompiler& convolutions;
  DeviceWeights& weights;
  Precision precision;
  Stream stream;
};

// The convolution of a window, forward and with nothing fused into it.
ConvSpec conv_spec(Precision precision, const Window& window, const Shape& input, int64_t in_channels,
                   const Shape& output);
struct WindowGeometry;  // window_kernels.h
WindowGeometry window_geometry(const Window& window, const Shape& input, int64_t in_channels, const Shape& output);

Result<Step> compile_normalize(const LayerCompiler& compiler, const Normalize& op, const Shape& image);
// `in_channels` as they are in memory, here and below. Not for a depthwise one. Of ReLU6 it is the lower bound alone.
Result<Step> compile_convolution(const LayerCompiler& compiler, const std::string& name, const Conv2d& op,
                                 const Shape& input, int64_t in_channels, const Shape& output);
Result<Step> compile_atrous_taps(const LayerCompiler& compiler, const std::string& name, const AtrousTaps& op,
                                 const Shape& input, int64_t in_channels, const Shape& output);
Result<Step> compile_resize(const LayerCompiler& compiler, const Resize& op, const Shape& input, const Shape& output);
Result<Step> compile_fuse_logits(const LayerCompiler& compiler, const FuseLogits& op, const std::vector<Shape>& inputs);
Result<Step> compile_shifted_add(const LayerCompiler& compiler, const ShiftedAdd& op, const Shape& products,
                                 const Shape& output);
Step compile_given_logits(const Shape& output);

// Depthwise. `bounds_input`: of ReLU6 before it, it is this one that does the upper bound, as it reads.
Result<Step> compile_depthwise(const LayerCompiler& compiler, const Conv2d& op, const Shape& input, int64_t in_channels,
                               const Shape& output, bool bounds_input);
// `step`, and then ReLU6's upper bound.
Step bounded(const LayerCompiler& compiler, Step step, const Shape& output);
Step compile_max_pool(const LayerCompiler& compiler, const MaxPool& op, const Shape& input, int64_t in_channels,
                      const Shape& output);
Step compile_average_pool(const LayerCompiler& compiler, const AveragePool& op, const Shape& input, int64_t in_channels,
                          const Shape& output);

Step compile_global_average_pool(const LayerCompiler& compiler, const Shape& input, int64_t in_channels);
// `in_channels` of each input.
Step compile_concat(const LayerCompiler& compiler, const std::vector<Shape>& inputs,
                    const std::vector<int64_t>& in_channels, const Shape& output);

}  // namespace deeplab::cuda

// The parameters of a network that is trained, on a device: f32 values with their gradients and momenta, and kernels
// and biases in the precision that the network computes in. Kernels lie as convolutions read them, channels in eights;
// the channels that fill up are zero and stay zero, for their gradients are.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace deeplab::cuda {

class TrainingParameters {
 public:
  // All zero.
  static Result<std::unique_ptr<TrainingParameters>> create(std::shared_ptr<const TrainingNetwork> network,
                                                            Precision precision, Stream stream);

  float* value(const std::string& name) const { return values_.as<float>() + place(name).offset; }
  // Of a trained one.
  float* gradient(const std::string& name) const { return gradients_.as<float>() + place(name).offset; }
  // In the precision's elements.
  const void* computed(const std::string& name) const;

  // Host memory; waits until it is done.
  Status read(int parameter, ParameterValues values, float* out) const;
  Status write(int parameter, ParameterValues values, const float* data);
  Status update(const ParameterUpdate& update);

  size_t bytes() const {
    return values_.size() + gradients_.size() + momenta_.size() + computed_.size() + owners_.size() + rules_.size();
  }
  size_t host_bytes() const { return host_rules_.size(); }

 private:
  // Where a parameter lies in each block of memory, in elements: [outer,area,channels in memory].
  struct Place {
    int64_t offset = 0;
    int64_t outer = 1;     // output channels of a kernel, else 1
    int64_t area = 1;      // elements of a kernel's window
    int64_t channels = 0;  // input channels of a kernel; its own of a depthwise one and of all else
    int64_t stored = 0;    // these, as they are in memory
    int64_t filled = 0;    // all elements, with the output channels that fill up

    // visit(row-major index, index in memory)
    template <typename Visit>
    void for_each(const Visit& visit) const {
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t c = 0; c < channels; ++c) {
          for (int64_t k = 0; k < area; ++k) visit((o * channels + c) * area + k, (o * area + k) * stored + c);
        }
      }
    }
  };

  TrainingParameters(std::shared_ptr<const TrainingNetwork> network, Precision precision, Stream stream)
      : network_(std::move(network)), precision_(precision), stream_(stream) {}

  void place_all();
  Status allocate();
  Status check(int parameter, ParameterValues values) const;
  float* memory(int parameter, ParameterValues values) const;
  const Place& place(const std::string& name) const { return places_[network_->parameter(name)]; }

  const std::shared_ptr<const TrainingNetwork> network_;
  const Precision precision_;
  const Stream stream_;
  std::vector<Place> places_;
  std::vector<int32_t> owner_of_block_;  // of those that are trained, which come first
  int64_t elements_ = 0;                 // of all parameters, and of those that are trained
  int64_t trained_ = 0;
  DeviceBuffer values_, gradients_, momenta_;
  DeviceBuffer computed_;  // none where the precision's elements are f32
  DeviceBuffer owners_, rules_;
  PinnedBuffer host_rules_;
};

}  // namespace deeplab::cuda

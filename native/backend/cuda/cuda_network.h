// Weights on a GPU: compiles graphs of them for image sizes into steps over one planned block of device memory.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "backend/cuda/convolution.h"
#include "backend/cuda/layers.h"

namespace deeplab::cuda {

// What the executables of a network share. Their runs compute one after the other, while the copies of another go on.
struct NetworkDevice {
  int index = 0;
  OwnedStream compute, upload, download;
  DeviceBuffer arena;     // activations: as large as the largest executable that has run needs
  int arena_changes = 0;  // how often it moved
  Status broken;          // once the GPU has failed, why
};

class CudaNetwork : public Network {
 public:
  using MakeCompiler = std::function<Result<std::unique_ptr<ConvolutionCompiler>>(Stream stream)>;

  // On device `index`; convolutions are compiled by what `make_compiler` makes for the stream they will run on.
  static Result<std::unique_ptr<Network>> create(int index, std::shared_ptr<const Safetensors> file,
                                                 Precision precision, const MakeCompiler& make_compiler);

  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Shape& image,
                                              const std::atomic<bool>& cancelled) override;
  HeldMemory held_memory() const override { return {0, weights_->bytes() + device_->arena.size()}; }

 private:
  explicit CudaNetwork(Precision precision) : precision_(precision) {}

  const Precision precision_;
  std::shared_ptr<NetworkDevice> device_ = std::make_shared<NetworkDevice>();
  std::unique_ptr<ConvolutionCompiler> convolutions_;
  std::unique_ptr<DeviceWeights> weights_;
};

}  // namespace deeplab::cuda

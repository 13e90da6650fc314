// A Graph on the CPU: compiles it for an image size into a list of steps over one planned block of memory.
#pragma once

#include "backend/backend.h"
#include "backend/cpu/arena.h"
#include "backend/cpu/packed_weights.h"

namespace deeplab {

struct CompiledNetwork;

class CpuNetwork : public Network {
 public:
  CpuNetwork(std::shared_ptr<const Safetensors> weights, NetworkOptions options)
      : file_(std::move(weights)), options_(options), weights_(PackedWeights::of(file_)) {}

  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Shape& image,
                                              const std::atomic<bool>& cancelled) override;
  HeldMemory held_memory() const override { return {weights_in_use_->bytes() + arena_->bytes(), 0}; }

 private:
  Result<CompiledNetwork> compile_steps(const Graph& graph, const Shape& image, const std::atomic<bool>& cancelled);

  std::shared_ptr<const Safetensors> file_;
  NetworkOptions options_;
  std::shared_ptr<PackedWeights> weights_;  // shared with the file's other networks
  // Shared with the executables.
  std::shared_ptr<WeightsInUse> weights_in_use_ = std::make_shared<WeightsInUse>();
  std::shared_ptr<Arena> arena_ = std::make_shared<Arena>();
};

}  // namespace deeplab

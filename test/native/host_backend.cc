#include "host_backend.h"

#include "backend/cuda/crf.h"
#include "backend/cuda/cuda_trainer.h"
#include "host_convolution.h"

namespace deeplab::cuda {
namespace {

Result<std::unique_ptr<ConvolutionCompiler>> make_compiler(Stream) {
  return std::unique_ptr<ConvolutionCompiler>(std::make_unique<HostCompiler>());
}

class HostBackend : public Backend {
 public:
  std::string device() const override { return "cuda on the host"; }
  std::vector<Precision> precisions() const override { return {Precision::kF32, Precision::kBF16, Precision::kF16}; }
  Precision auto_precision() const override { return Precision::kF16; }

  Result<std::unique_ptr<Network>> load(std::shared_ptr<const Safetensors> weights,
                                        const NetworkOptions& options) override {
    return CudaNetwork::create(0, std::move(weights), options.precision, make_compiler);
  }

  Result<std::unique_ptr<Trainer>> create_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                  const NetworkOptions& options,
                                                  const std::atomic<bool>& cancelled) override {
    return cuda::create_trainer(0, std::move(network), options.precision, make_compiler, cancelled);
  }

  Result<std::unique_ptr<Crf>> build_crf(const Shape& image, const uint8_t* pixels, const CrfModel& model, int,
                                         const std::atomic<bool>&) override {
    return cuda::build_crf(0, image, pixels, model);
  }

  size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes,
                             bool marginals) const override {
    return cuda::crf_inference_bytes(points, vertices, classes, marginals);
  }
};

}  // namespace

Backend* host_backend() {
  static HostBackend* const instance = new HostBackend();
  return instance;
}

}  // namespace deeplab::cuda

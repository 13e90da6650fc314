// What deeplab_cuda.so exports: which GPUs there are, what they lack, and a Backend for each that lacks nothing.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "backend/cuda/crf.h"
#include "backend/cuda/cuda_network.h"
#include "backend/cuda/cuda_trainer.h"
#include "backend/cuda/cudnn_convolution.h"
#include "backend/cuda_library.h"

namespace deeplab::cuda {
namespace {

// 7.5, Turing: the oldest that CUDA 13 compiles for.
constexpr int kOldestCapability = 75;
constexpr int kAmpere = 80;

std::string version_name(int version) {  // 13000 -> "13.0"
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::vector<Precision> precisions_of(int capability) {
  if (capability >= kAmpere) return {Precision::kF32, Precision::kTF32, Precision::kBF16, Precision::kF16};
  return {Precision::kF32, Precision::kF16};
}

// Why this process can use no GPU at all, as the driver tells it; else how many there are.
Result<int> count_gpus() {
  const char* needed = "Install the NVIDIA driver 580 or newer";
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return error(Code::kDeviceUnavailable, "there is no NVIDIA driver: the library libcuda.so.1 was not found. ",
                 needed, "; a container must be started with access to the GPU, as by --gpus all");
  }
  if (driver / 1000 < CUDART_VERSION / 1000) {
    return error(Code::kDeviceUnavailable, "the NVIDIA driver is too old: it knows CUDA ", version_name(driver),
                 " at most, and ", version_name(CUDART_VERSION), " is needed. ", needed);
  }
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (result == cudaSuccess && count > 0) return count;
  std::string why = "the NVIDIA driver sees no GPU";
  if (result != cudaSuccess && result != cudaErrorNoDevice) why += std::string(": ") + cudaGetErrorString(result);
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    why += std::string(", with CUDA_VISIBLE_DEVICES set to '") + visible + "'";
  }
  return Status(Code::kDeviceUnavailable, why);
}

int capability_of(const cudaDeviceProp& properties) { return properties.major * 10 + properties.minor; }

Result<GpuDescription> describe_gpu(int index) {
  cudaDeviceProp properties{};
  DEEPLAB_RETURN_IF_ERROR(check(cudaGetDeviceProperties(&properties, index), "reading a GPU's properties"));
  GpuDescription gpu;
  gpu.index = index;
  gpu.name = properties.name;
  gpu.compute_capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  gpu.total_bytes = properties.totalGlobalMem;
  if (capability_of(properties) < kOldestCapability) {
    gpu.reason = "too old: compute capability " + gpu.compute_capability + ", and 7.5 is needed";
  } else {
    gpu.precisions = precisions_of(capability_of(properties));
  }
  return gpu;
}

class CudaBackend : public Backend {
 public:
  CudaBackend(GpuDescription gpu, const Cudnn& cudnn) : gpu_(std::move(gpu)), cudnn_(cudnn) {}

  std::string device() const override { return "cuda:" + std::to_string(gpu_.index); }
  std::vector<Precision> precisions() const override { return gpu_.precisions; }
  Precision auto_precision() const override { return Precision::kF16; }
  Precision auto_training_precision() const override {
    const auto& known = gpu_.precisions;
    return std::find(known.begin(), known.end(), Precision::kBF16) != known.end() ? Precision::kBF16 : Precision::kF32;
  }
  std::string plan_cache() const override { return PlanCache::default_folder(); }

  Result<std::unique_ptr<Network>> load(std::shared_ptr<const Safetensors> weights,
                                        const NetworkOptions& options) override {
    DEEPLAB_RETURN_IF_ERROR(check_precision(options.precision));
    return CudaNetwork::create(gpu_.index, std::move(weights), options.precision, make_compiler());
  }

  Result<std::unique_ptr<Trainer>> create_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                  const NetworkOptions& options,
                                                  const std::atomic<bool>& cancelled) override {
    DEEPLAB_RETURN_IF_ERROR(check_precision(options.precision));
    return cuda::create_trainer(gpu_.index, std::move(network), options.precision, make_compiler(), cancelled);
  }

  Result<std::unique_ptr<Crf>> build_crf(const Shape& image, const uint8_t* pixels, const CrfModel& model, int,
                                         const std::atomic<bool>& cancelled) override {
    if (cancelled.load(std::memory_order_relaxed)) return error(Code::kAborted, "the CRF was aborted");
    return cuda::build_crf(gpu_.index, image, pixels, model);
  }

  size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes,
                             bool marginals) const override {
    return cuda::crf_inference_bytes(points, vertices, classes, marginals);
  }

 private:
  Status check_precision(Precision precision) const {
    const auto& known = gpu_.precisions;
    if (std::find(known.begin(), known.end(), precision) != known.end()) return Status();
    return error(Code::kUnsupportedPrecision, gpu_.name, " cannot compute in ", precision_name(precision),
                 ", which needs compute capability 8.0. 'auto', 'f32' and 'f16' work");
  }

  CudaNetwork::MakeCompiler make_compiler() const {
    return
        [this](Stream stream) { return CudnnCompiler::create(cudnn_, stream, PlanCache(plan_cache(), plan_device())); };
  }

  // What a plan is good for: this GPU, with this driver and this cuDNN.
  std::string plan_device() const {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    return gpu_.name + ", compute capability " + gpu_.compute_capability + ", driver " + version_name(driver) +
           ", cuDNN " + cudnn_.version;
  }

  const GpuDescription gpu_;
  const Cudnn& cudnn_;
};

CudaDescription describe(const std::string& cudnn_folder) {
  CudaDescription description;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver != 0) description.driver = version_name(driver);
  description.runtime = version_name(CUDART_VERSION);
  const auto count = count_gpus();
  if (!count.ok()) {
    description.reason = count.status().message();
    return description;
  }
  bool any = false;
  for (int index = 0; index < *count; ++index) {
    auto gpu = describe_gpu(index);
    if (!gpu.ok()) {
      description.gpus.push_back({index, "", "", 0, 0, {}, gpu.status().message()});
      continue;
    }
    size_t available = 0, total = 0;
    if (gpu->reason.empty() && select_device(index).ok() && cudaMemGetInfo(&available, &total) == cudaSuccess) {
      gpu->available_bytes = available;
    }
    any = any || gpu->reason.empty();
    description.gpus.push_back(std::move(*gpu));
  }
  const auto cudnn = open_cudnn(cudnn_folder);
  if (cudnn.ok()) {
    description.cudnn = (*cudnn)->version;
    description.cudnn_path = (*cudnn)->path;
  }
  if (!any)
    description.reason = "no GPU can be used: " + description.gpus[0].name + " is " + description.gpus[0].reason;
  if (any && !cudnn.ok()) description.reason = cudnn.status().message();
  return description;
}

// The first GPU that can compute.
Result<GpuDescription> first_gpu(int count) {
  std::string reasons;
  for (int index = 0; index < count; ++index) {
    auto gpu = describe_gpu(index);
    if (gpu.ok() && gpu->reason.empty()) return gpu;
    reasons += (index == 0 ? "" : "; ") + std::string("cuda:") + std::to_string(index) + " " +
               (gpu.ok() ? gpu->name + " is " + gpu->reason : gpu.status().message());
  }
  return error(Code::kDeviceUnavailable, "no GPU can be used: ", reasons);
}

Result<GpuDescription> find_gpu(int index) {
  const auto count = count_gpus();
  if (!count.ok()) return count.status();
  if (index < 0) return first_gpu(*count);
  if (index >= *count) {
    return error(Code::kDeviceUnavailable, "there is no GPU ", index, ": the driver sees ", *count,
                 *count == 1 ? " GPU, cuda:0" : " GPUs, from cuda:0 on");
  }
  auto gpu = describe_gpu(index);
  if (gpu.ok() && !gpu->reason.empty()) return error(Code::kDeviceUnavailable, gpu->name, " is ", gpu->reason);
  return gpu;
}

// Backends live as long as the process.
Result<Backend*> backend(int index, const std::string& cudnn_folder) {
  static std::mutex mutex;
  static auto* const backends = new std::map<int, CudaBackend*>();
  auto gpu = find_gpu(index);
  if (!gpu.ok()) return gpu.status();
  auto cudnn = open_cudnn(cudnn_folder);
  if (!cudnn.ok()) return cudnn.status();
  const std::lock_guard<std::mutex> lock(mutex);
  CudaBackend*& known = (*backends)[gpu->index];
  if (known == nullptr) known = new CudaBackend(std::move(*gpu), **cudnn);
  return static_cast<Backend*>(known);
}

}  // namespace
}  // namespace deeplab::cuda

extern "C" __attribute__((visibility("default"))) const deeplab::CudaApi* deeplab_cuda_api() {
  static const deeplab::CudaApi api{deeplab::kCudaApiVersion, deeplab::cuda::describe, deeplab::cuda::backend};
  return &api;
}

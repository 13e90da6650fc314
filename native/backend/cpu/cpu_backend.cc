#include "backend/cpu/cpu_backend.h"

#include <fstream>

#include "backend/cpu/cpu_network.h"
#include "backend/cpu/cpu_trainer.h"
#include "backend/cpu/dense_crf.h"
#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/onednn.h"
#include "core/threads.h"

namespace deeplab {
namespace {

// Every layer geometry of a few image sizes; oneDNN's own default keeps the code of 1024.
constexpr int kPrimitiveCacheCapacity = 256;

Status check_precision(Precision precision) {
  if (precision == Precision::kTF32 || precision == Precision::kF16) {
    return error(Code::kUnsupportedPrecision, precision_name(precision),
                 " is a GPU's precision. On the CPU, 'auto', 'f32' and, with AVX512-BF16 or AMX, 'bf16' work");
  }
  if (precision == Precision::kBF16 && !onednn::has_bf16()) {
    return error(Code::kUnsupportedPrecision, "bf16 needs a CPU with AVX512-BF16 or AMX; oneDNN may use ",
                 onednn::isa_name(), " here. 'auto' and 'f32' work");
  }
  return Status();
}

class CpuBackend : public Backend {
 public:
  CpuBackend() { dnnl::set_primitive_cache_capacity(kPrimitiveCacheCapacity); }

  std::string device() const override { return "cpu"; }

  std::vector<Precision> precisions() const override {
    if (onednn::has_bf16()) return {Precision::kF32, Precision::kBF16};
    return {Precision::kF32};
  }

  // AMX makes bf16 much the fastest; without it, f32 is the safe choice (docs/decisions/0003-auto-precision.md).
  Precision auto_precision() const override { return onednn::has_amx() ? Precision::kBF16 : Precision::kF32; }

  Result<std::unique_ptr<Network>> load(std::shared_ptr<const Safetensors> weights,
                                        const NetworkOptions& options) override {
    DEEPLAB_RETURN_IF_ERROR(check_precision(options.precision));
    return std::unique_ptr<Network>(std::make_unique<CpuNetwork>(std::move(weights), options));
  }

  Result<std::unique_ptr<Trainer>> create_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                  const NetworkOptions& options,
                                                  const std::atomic<bool>& cancelled) override {
    DEEPLAB_RETURN_IF_ERROR(check_precision(options.precision));
    return create_cpu_trainer(std::move(network), options, cancelled);
  }

  Result<std::unique_ptr<Crf>> build_crf(const Shape& image, const uint8_t* pixels, const CrfModel& model, int threads,
                                         const std::atomic<bool>& cancelled) override {
    const CoreLease cores(threads, cancelled);
    if (!cores.held()) return error(Code::kAborted, "the CRF was aborted");
    auto crf = DenseCrf::build(image, pixels, model, threads, cancelled);
    if (!crf.ok()) return crf.status();
    return std::unique_ptr<Crf>(std::move(*crf));
  }

  size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes,
                             bool marginals) const override {
    const size_t unary = points * row_stride(classes) * sizeof(float);
    const size_t results = points * (1 + (marginals ? classes * sizeof(float) : 0));
    return unary + crf_working_bytes(points, vertices, classes, false) + results;
  }
};

}  // namespace

Backend* cpu_backend() {
  static CpuBackend* const instance = new CpuBackend();  // never destroyed: threads may outlive static destructors
  return instance;
}

CpuDescription describe_cpu() {
  CpuDescription cpu;
  cpu.onednn_version = onednn::version();
  cpu.onednn_isa = onednn::isa_name();
#if defined(__x86_64__)
  static constexpr const char* kWanted[] = {"avx2",        "fma",         "avx512f",  "avx512bw", "avx512_vnni",
                                            "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"};
#else
  static constexpr const char* kWanted[] = {"asimd", "asimddp", "sve", "bf16", "i8mm"};
#endif
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.empty()) {  // the first processor's block
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (line.rfind("model name", 0) == 0) cpu.name = value;
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    const std::string flags = " " + value + " ";
    for (const char* feature : kWanted) {
      if (flags.find(" " + std::string(feature) + " ") != std::string::npos) cpu.features.push_back(feature);
    }
  }
  return cpu;
}

}  // namespace deeplab

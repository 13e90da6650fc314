// Plans every convolution of the real networks with the real cuDNN, for cards that need not be there: cuDNN takes a
// description of a card in the place of one. Shows that every layer has an engine, that its plan survives the way to
// the disk and back, and that a damaged or foreign cache counts as none.
//
//   cudnn_plans FOLDER_OF_CUDNN MODEL.safetensors
//   cudnn_plans FOLDER_OF_CUDNN                    only opens cuDNN, and prints its version or what is missing

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "backend/cuda/cuda_network.h"
#include "backend/cuda/cudnn_plan.h"
#include "backend/cuda/plan_cache.h"
#include "session/model.h"

namespace deeplab::cuda {
namespace {

namespace fs = std::filesystem;

int failures = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

struct Card {
  const char* name;
  int version;  // of the architecture, times a hundred
  int multiprocessors;
  int shared_memory;  // that a block may ask for
  int l2_bytes;
  int blocks, threads;  // of a multiprocessor, at most
};

// From the vendor's tables.
constexpr Card kCards[] = {
    {"Tesla T4", 750, 40, 65536, 4 << 20, 16, 1024},
    {"NVIDIA A100", 800, 108, 166912, 40 << 20, 32, 2048},
    {"NVIDIA RTX A6000", 860, 84, 101376, 6 << 20, 16, 1536},
    {"NVIDIA L4", 890, 58, 101376, 48 << 20, 24, 1536},
    {"NVIDIA H200", 900, 132, 232448, 60 << 20, 32, 2048},
    {"NVIDIA B200", 1000, 148, 232448, 126 << 20, 32, 2048},
    {"NVIDIA GeForce RTX 5090", 1200, 170, 101376, 96 << 20, 24, 1536},
};

Result<Descriptor> describe(const Cudnn& cudnn, const Card& card) {
  char json[1024];
  const int length = std::snprintf(
      json, sizeof json,
      R"({"deviceName":"%s","deviceVer":%d,"driverVer":13000,"cudaDeviceId":0,"pciDeviceId":0,"isTccDriver":0,)"
      R"("supportCoopLaunch":1,"multiProcessorCount":%d,"warpSize":32,"maxGridSize":[2147483647,65535,65535],)"
      R"("maxBlockSize":[1024,1024,64],"maxThreadsPerBlock":1024,"maxThreadsPerSM":%d,"maxCtasPerSM":%d,)"
      R"("regsPerBlock":65536,"maxRegistersPerSM":65536,"maxSharedMemoryPerBlock":49152,)"
      R"("maxSharedMemoryPerBlockOptin":%d,"reservedSharedMemoryPerBlock":1024,"l2CacheSize":%d,)"
      R"("totalGlobalMem":17179869184,"smClockRateKHz":1800000,"memClockRateKHz":3000000})",
      card.name, card.version, card.multiprocessors, card.threads, card.blocks, card.shared_memory, card.l2_bytes);
  return Builder(&cudnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)
      .set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, json, length)
      .finalize();
}

class PlannedConvolution : public Convolution {
 public:
  size_t workspace_bytes() const override { return 0; }
  Status run(Stream, const ConvArguments&) const override { return error(Code::kInternal, "only planned"); }
  std::string implementation() const override { return "planned"; }
};

// Plans what a network asks for, and counts.
class Planner : public ConvolutionCompiler {
 public:
  Planner(const Cudnn& cudnn, const Descriptor& device, const PlanCache& cache, std::map<int64_t, int>* engines)
      : cudnn_(cudnn), device_(device), cache_(cache), engines_(*engines) {}

  Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) override {
    if (!planned_.insert(to_string(spec)).second) return convolution_;
    auto graph = convolution_graph(cudnn_, spec);
    if (!graph.ok()) return graph.status();
    auto configs = engine_configs(cudnn_, device_, *graph, spec);
    if (!configs.ok()) return configs.status();
    bool any = false, tensor_cores = false;
    for (const EngineConfig& config : *configs) {
      auto plan = make_plan(cudnn_, device_, config);
      if (!plan.ok()) continue;
      if (!any) DEEPLAB_RETURN_IF_ERROR(check_cache(*plan, config.engine));
      any = true;
      tensor_cores = tensor_cores || config.tensor_cores;
      ++engines_[config.engine];
    }
    if (!any) return error(Code::kInternal, "no engine");
    if (!tensor_cores && spec.precision != Precision::kF32)
      return error(Code::kInternal, "no tensor cores: ", to_string(spec));
    return convolution_;
  }

 private:
  // The way to the disk and back.
  Status check_cache(const Descriptor& plan, int64_t engine) const {
    auto json = write_plan(plan);
    if (!json.ok()) return json.status();
    if (!cache_.store("plan", {engine, 0.125, *json})) return error(Code::kInternal, "the plan was not stored");
    const auto cached = cache_.find("plan");
    if (!cached || cached->engine != engine || cached->milliseconds != 0.125 || cached->json != *json) {
      return error(Code::kInternal, "another plan came back");
    }
    auto read = read_plan(cudnn_, device_, cached->json);
    if (!read.ok()) return read.status();
    auto workspace = plan_workspace_bytes(plan), again = plan_workspace_bytes(*read);
    if (!workspace.ok() || !again.ok() || *workspace != *again) return error(Code::kInternal, "another workspace");
    return Status();
  }

  const Cudnn& cudnn_;
  const Descriptor& device_;
  const PlanCache& cache_;
  std::map<int64_t, int>& engines_;
  std::set<std::string> planned_;
  const std::shared_ptr<const Convolution> convolution_ = std::make_shared<PlannedConvolution>();
};

void plan_network(const Cudnn& cudnn, const Card& card, Precision precision, const Model& model,
                  const PlanCache& cache) {
  auto device = describe(cudnn, card);
  expect(device.ok(), std::string(card.name) + ": " + device.status().message());
  if (!device.ok()) return;
  std::map<int64_t, int> engines;
  const auto make_planner = [&](Stream) -> Result<std::unique_ptr<ConvolutionCompiler>> {
    return std::unique_ptr<ConvolutionCompiler>(std::make_unique<Planner>(cudnn, *device, cache, &engines));
  };
  auto network = CudaNetwork::create(0, model.file, precision, make_planner);
  expect(network.ok(), network.status().message());
  for (const Shape& image : {Shape{1, 3, 513, 513}, Shape{32, 3, 513, 513}, Shape{1, 3, 360, 480}, Shape{1, 3, 1, 1},
                             Shape{2, 3, 33, 1000}}) {
    auto executable = (*network)->compile(model.graph, image);
    expect(executable.ok(), std::string(card.name) + ", " + precision_name(precision) + ", " + to_string(image) + ": " +
                                executable.status().message());
  }
  std::printf("%s %s:", card.name, precision_name(precision));
  for (const auto& [engine, plans] : engines) std::printf(" engine %d x%d", static_cast<int>(engine), plans);
  std::printf("\n");
}

void overwrite(const fs::path& file, const std::string& content) { std::ofstream(file, std::ios::trunc) << content; }

void damage_cache(const std::string& folder) {
  const PlanCache cache(folder, "a card"), other(folder, "another card");
  const CachedPlan plan{7, 1.5, "{\"some\": \"plan\",\n\"of\": \"lines\"}"};
  expect(!cache.find("key"), "an empty cache has nothing");
  expect(cache.store("key", plan), "a plan is stored");
  const auto found = cache.find("key");
  expect(found && found->json == plan.json && found->engine == 7 && found->milliseconds == 1.5, "and found");
  expect(!cache.find("key of another") && !other.find("key"), "not under other names");
  fs::path file;
  for (const auto& entry : fs::directory_iterator(folder)) file = entry.path();
  std::ifstream stream(file);
  const std::string good((std::istreambuf_iterator<char>(stream)), {});
  for (size_t length = 0; length < good.size(); ++length) {
    overwrite(file, good.substr(0, length));
    expect(!cache.find("key"), "a file of " + std::to_string(length) + " bytes counts as none");
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    overwrite(file, damaged);
    expect(!cache.find("key"), "a file with byte " + std::to_string(at) + " changed counts as none");
  }
  expect(cache.store("key", plan) && cache.find("key"), "it is written anew");
  expect(std::distance(fs::directory_iterator(folder), {}) == 1, "nothing is left beside it");
  expect(!PlanCache("/proc/nowhere", "a card").store("key", plan), "a folder that cannot be made is no failure");
  expect(!PlanCache("", "a card").store("key", plan) && !PlanCache("", "a card").find("key"), "nor is none at all");
}

int run(const std::string& folder, const std::string& path) {
  auto cudnn = open_cudnn(folder);
  auto model = open_model(path);
  expect(cudnn.ok(), cudnn.status().message());
  expect(model.ok(), model.status().message());
  if (failures > 0) return 1;
  std::printf("cuDNN %s\n", (*cudnn)->version.c_str());
  const fs::path cache = fs::temp_directory_path() / ("deeplab-plans-" + std::to_string(getpid()));
  damage_cache(cache.string());
  const PlanCache plans(cache.string(), "cards");
  for (const Card& card : kCards) {
    for (const Precision precision : {Precision::kF32, Precision::kTF32, Precision::kBF16, Precision::kF16}) {
      const bool ampere = card.version >= 800;
      if (!ampere && (precision == Precision::kTF32 || precision == Precision::kBF16)) continue;
      plan_network(**cudnn, card, precision, *model, plans);
    }
  }
  fs::remove_all(cache);
  std::printf(failures == 0 ? "ok\n" : "%d failed\n", failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace deeplab::cuda

int main(int argc, char** argv) {
  if (argc == 3) return deeplab::cuda::run(argv[1], argv[2]);
  if (argc != 2) return 2;
  const auto cudnn = deeplab::cuda::open_cudnn(argv[1]);
  std::printf("%s\n", cudnn.ok() ? (*cudnn)->version.c_str() : cudnn.status().message().c_str());
  return cudnn.ok() ? 0 : 1;
}

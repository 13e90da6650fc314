// Plans every convolution of a model, and of the rest of the family, with the real cuDNN, for cards that need not be
// there: cuDNN takes a description of a card in the place of one. Shows that every layer has an engine, that its plan
// survives the way to the disk and back, and that a damaged or foreign cache counts as none.
//
//   cudnn_plans FOLDER_OF_CUDNN MODEL.safetensors
//   cudnn_plans FOLDER_OF_CUDNN --training         the convolutions of training steps of the family instead
//   cudnn_plans FOLDER_OF_CUDNN                    only opens cuDNN, and prints its version or what is missing

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

#include "backend/cuda/cuda_network.h"
#include "backend/cuda/cudnn_plan.h"
#include "backend/cuda/plan_cache.h"
#include "backend/cuda/training_step.h"
#include "graph/deeplab.h"
#include "graph/passes.h"
#include "random_network.h"
#include "session/model.h"

namespace deeplab::cuda {
namespace {

const std::atomic<bool> kNotCancelled{false};

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

// The convolutions of networks, by their names.
using Specs = std::map<std::string, ConvSpec>;

// Only notes what a network asks for.
class Collector : public ConvolutionCompiler {
 public:
  explicit Collector(Specs* specs) : specs_(*specs) {}

  Result<std::shared_ptr<const Convolution>> compile(const ConvSpec& spec) override {
    specs_.emplace(to_string(spec), spec);
    return convolution_;
  }

 private:
  Specs& specs_;
  const std::shared_ptr<const Convolution> convolution_ = std::make_shared<PlannedConvolution>();
};

void collect(const Model& model, Precision precision, const std::vector<Shape>& images, Specs* specs) {
  const auto make_collector = [&](Stream) -> Result<std::unique_ptr<ConvolutionCompiler>> {
    return std::unique_ptr<ConvolutionCompiler>(std::make_unique<Collector>(specs));
  };
  auto network = CudaNetwork::create(0, model.file, precision, make_collector);
  expect(network.ok(), network.status().message());
  for (const Shape& image : images) {
    auto executable = (*network)->compile(model.graph, image, kNotCancelled);
    expect(executable.ok(), to_string(image) + ": " + executable.status().message());
  }
}

// Those of a training step, forward and backward.
void collect_training(const ModelConfig& config, Precision precision, const Shape& images, Specs* specs) {
  TrainingOptions options;
  options.class_weights.assign(config.classes.size(), 1.0f);
  auto network = build_training(config, options, images);
  expect(network.ok(), network.status().message());
  if (!network.ok()) return;
  for (const TrainingNode& node : network->nodes) {
    const auto* conv = std::get_if<Conv2d>(&node.op);
    if (conv == nullptr || conv->depthwise) continue;
    for (const ConvDirection direction :
         {ConvDirection::kForward, ConvDirection::kBackwardData, ConvDirection::kBackwardFilter}) {
      if (direction == ConvDirection::kBackwardData && node.gradients[0] == GradientUse::kNone) continue;
      const ConvSpec spec = training_spec(*network, node, precision, direction);
      specs->emplace(to_string(spec), spec);
    }
  }
}

// Every kind of convolution in the family, in the sizes in which it is published.
std::vector<ModelConfig> family() {
  constexpr int kClasses = 21;
  std::vector<ModelConfig> configs;
  const auto add = [&](const char* backbone, const char* architecture, const std::vector<int>& rates) -> ModelConfig& {
    configs.push_back(network_config(backbone, kClasses, rates, architecture));
    return configs.back();
  };
  for (const auto& [kernel, rate] : {std::pair(3, 12), {4, 4}, {4, 8}, {7, 4}}) {
    ModelConfig& vgg = add("vgg16", "deeplab_v1", {rate});
    vgg.fc6_kernel = kernel, vgg.head_channels = 1024;
  }
  ModelConfig& v3 = add("resnet101", "deeplab_v3", {12, 24, 36});
  v3.output_stride = 8, v3.multi_grid = {1, 2, 4}, v3.head_conv = true;
  add("mobilenet_v2", "deeplab_v3", {}).output_stride = 16;
  add("mobilenet_v2", "deeplab_v3", {12, 24, 36}).width_multiplier = 0.5f;
  return configs;
}

Result<Model> random_model(const ModelConfig& config) {
  const Graph graph = build_deeplab(config);
  auto weights = random_weights(graph, 1);
  if (!weights.ok()) return weights.status();
  return Model{*weights, config, optimize(graph)};
}

// Plans convolutions for a card, and counts.
class Planner {
 public:
  Planner(const Cudnn& cudnn, const Descriptor& device, const PlanCache& cache, std::map<int64_t, int>* engines)
      : cudnn_(cudnn), device_(device), cache_(cache), engines_(*engines) {}

  Status plan(const ConvSpec& spec) const {
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
    if (!tensor_cores && spec.precision != Precision::kF32) return error(Code::kInternal, "no tensor cores");
    return Status();
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
};

void plan_all(const Cudnn& cudnn, const Card& card, Precision precision, const Specs& specs, const PlanCache& cache) {
  auto device = describe(cudnn, card);
  expect(device.ok(), std::string(card.name) + ": " + device.status().message());
  if (!device.ok()) return;
  std::map<int64_t, int> engines;
  const Planner planner(cudnn, *device, cache, &engines);
  for (const auto& [name, spec] : specs) {
    const Status planned = planner.plan(spec);
    expect(planned.ok(), std::string(card.name) + ", " + name + ": " + planned.message());
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
  std::map<Precision, Specs> specs;
  const std::vector<Precision> precisions = {Precision::kF32, Precision::kTF32, Precision::kBF16, Precision::kF16};
  for (const Precision precision : precisions) {
    collect(*model, precision, {{1, 3, 513, 513}, {32, 3, 513, 513}, {1, 3, 360, 480}, {1, 3, 1, 1}, {2, 3, 33, 1000}},
            &specs[precision]);
  }
  for (const ModelConfig& config : family()) {
    auto other = random_model(config);
    expect(other.ok(), other.status().message());
    if (!other.ok()) continue;
    for (const Precision precision : precisions) {
      collect(*other, precision, {{1, 3, 513, 513}, {8, 3, 360, 480}, {1, 3, 1, 1}}, &specs[precision]);
    }
  }
  for (const Card& card : kCards) {
    for (const auto& [precision, all] : specs) {
      const bool ampere = card.version >= 800;
      if (!ampere && (precision == Precision::kTF32 || precision == Precision::kBF16)) continue;
      plan_all(**cudnn, card, precision, all, plans);
    }
  }
  fs::remove_all(cache);
  std::printf(failures == 0 ? "ok\n" : "%d failed\n", failures);
  return failures == 0 ? 0 : 1;
}

// Every convolution of training steps, in its three directions, on a card of each generation of tensor cores.
int run_training(const std::string& folder) {
  auto cudnn = open_cudnn(folder);
  expect(cudnn.ok(), cudnn.status().message());
  if (failures > 0) return 1;
  const fs::path cache = fs::temp_directory_path() / ("deeplab-plans-" + std::to_string(getpid()));
  const PlanCache plans(cache.string(), "cards");
  std::vector<ModelConfig> configs = family();
  configs.push_back(network_config("resnet101", 21));
  for (const Card& card : kCards) {
    if (card.version == 860 || card.version == 890) continue;
    for (const Precision precision : {Precision::kF32, Precision::kTF32, Precision::kBF16, Precision::kF16}) {
      if (card.version < 800 && (precision == Precision::kTF32 || precision == Precision::kBF16)) continue;
      Specs specs;
      for (const ModelConfig& config : configs) collect_training(config, precision, {10, 3, 321, 321}, &specs);
      plan_all(**cudnn, card, precision, specs, plans);
    }
  }
  fs::remove_all(cache);
  std::printf(failures == 0 ? "ok\n" : "%d failed\n", failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace deeplab::cuda

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[2]) == "--training") return deeplab::cuda::run_training(argv[1]);
  if (argc == 3) return deeplab::cuda::run(argv[1], argv[2]);
  if (argc != 2) return 2;
  const auto cudnn = deeplab::cuda::open_cudnn(argv[1]);
  std::printf("%s\n", cudnn.ok() ? (*cudnn)->version.c_str() : cudnn.status().message().c_str());
  return cudnn.ok() ? 0 : 1;
}

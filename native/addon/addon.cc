// What the addon exports; lib/native.ts declares it for TypeScript.

#include <napi.h>

#include "addon/convert.h"
#include "addon/crf_object.h"
#include "addon/environment.h"
#include "addon/graph.h"
#include "addon/model_object.h"
#include "addon/trainer_object.h"
#include "addon/tune_model.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_library.h"
#include "core/memory.h"
#include "core/process_exit.h"
#include "core/threads.h"
#include "graph/cost.h"
#include "graph/deeplab.h"
#include "graph/passes.h"

namespace deeplab {
namespace {

Model open_or_throw(const Napi::CallbackInfo& info, int output_stride = 0) {
  auto model = open_model(string_argument(info[0], "path"), output_stride);
  if (!model.ok()) throw to_error(info.Env(), model.status());
  return std::move(*model);
}

// NativeInspection of `graph` for an image of `width` x `height`.
Napi::Value inspection(const ModelConfig& config, const Graph& graph, const Napi::Value& width,
                       const Napi::Value& height) {
  const Napi::Env env = width.Env();
  auto cost = graph_cost(graph, image_argument(width, height, Napi::Number::New(env, 3)));
  if (!cost.ok()) throw to_error(env, cost.status());

  Napi::Object result = Napi::Object::New(env);
  set_config(result, config);
  Napi::Array layers = Napi::Array::New(env, cost->layers.size());
  for (uint32_t i = 0; i < cost->layers.size(); ++i) {
    const LayerCost& layer = cost->layers[i];
    Napi::Object object = Napi::Object::New(env);
    object["name"] = layer.name;
    object["op"] = layer.op;
    object["output"] = to_array(env, Dims{layer.output.n, layer.output.c, layer.output.h, layer.output.w});
    object["macs"] = static_cast<double>(layer.macs);
    object["parameters"] = static_cast<double>(layer.parameters);
    layers[i] = object;
  }
  result["layers"] = layers;
  result["macs"] = static_cast<double>(cost->macs);
  result["parameters"] = static_cast<double>(cost->parameters);
  result["activationBytes"] = static_cast<double>(cost->activation_bytes);
  result["activationBytesWithoutReuse"] = static_cast<double>(cost->activation_bytes_without_reuse);
  return result;
}

// inspectModel(path, width, height, outputStride): NativeInspection
Napi::Value inspect_model(const Napi::CallbackInfo& info) {
  const Model model = open_or_throw(info, output_stride_argument(info[3]));
  return inspection(model.config, model.graph, info[1], info[2]);
}

// inspectConfig(metadata, width, height): NativeInspection
Napi::Value inspect_config(const Napi::CallbackInfo& info) {
  const ModelConfig config = metadata_argument(info[0]);
  return inspection(config, optimize(build_deeplab(config)), info[1], info[2]);
}

// cpuImplementations(path, precision, winograd, width, height): [layer, implementation][]
Napi::Value list_cpu_implementations(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Model model = open_or_throw(info);
  NetworkOptions options;
  options.precision = precision_argument(info[1]).value_or(cpu_backend()->auto_precision());
  options.winograd = info[2].ToBoolean();
  options.threads = available_cores();
  auto network = cpu_backend()->load(model.file, options);
  if (!network.ok()) throw to_error(env, network.status());
  const std::atomic<bool> never{false};
  auto executable =
      (*network)->compile(model.graph, image_argument(info[3], info[4], Napi::Number::New(env, 3)), never);
  if (!executable.ok()) throw to_error(env, executable.status());
  const auto layers = (*executable)->layers();
  Napi::Array result = Napi::Array::New(env, layers.size());
  for (uint32_t i = 0; i < layers.size(); ++i) {
    result[i] = to_array(env, std::vector<std::string>{layers[i].layer, layers[i].implementation});
  }
  return result;
}

Napi::Object to_object(Napi::Env env, const GpuDescription& gpu) {
  std::vector<std::string> precisions;
  for (const Precision precision : gpu.precisions) precisions.push_back(precision_name(precision));
  Napi::Object object = Napi::Object::New(env);
  object["device"] = "cuda:" + std::to_string(gpu.index);
  object["name"] = gpu.name;
  object["computeCapability"] = gpu.compute_capability;
  object["totalBytes"] = static_cast<double>(gpu.total_bytes);
  object["availableBytes"] = static_cast<double>(gpu.available_bytes);
  object["precisions"] = to_array(env, precisions);
  object["reason"] = gpu.reason;
  return object;
}

Napi::Object to_object(Napi::Env env, const CudaDescription& cuda) {
  Napi::Array gpus = Napi::Array::New(env, cuda.gpus.size());
  for (uint32_t i = 0; i < cuda.gpus.size(); ++i) gpus[i] = to_object(env, cuda.gpus[i]);
  Napi::Object object = Napi::Object::New(env);
  object["reason"] = cuda.reason;
  object["library"] = cuda.library;
  object["driver"] = cuda.driver;
  object["runtime"] = cuda.runtime;
  object["cudnn"] = cuda.cudnn;
  object["cudnnPath"] = cuda.cudnn_path;
  object["gpus"] = gpus;
  return object;
}

// system(cudnn, cuda = true): NativeSystem. With `cuda` false nothing of CUDA is opened, and its reason says so.
Napi::Value describe_system(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CpuDescription description = describe_cpu();
  Napi::Object cpu = Napi::Object::New(env);
  cpu["name"] = description.name;
  cpu["cores"] = available_cores();
  cpu["features"] = to_array(env, description.features);
  Napi::Object onednn = Napi::Object::New(env);
  onednn["version"] = description.onednn_version;
  onednn["isa"] = description.onednn_isa;
  std::vector<std::string> precisions;
  for (const Precision precision : cpu_backend()->precisions()) precisions.push_back(precision_name(precision));
  const SystemMemory system = system_memory();
  Napi::Object memory = Napi::Object::New(env);
  memory["totalBytes"] = static_cast<double>(system.total_bytes);
  memory["availableBytes"] = static_cast<double>(system.available_bytes);
  CudaDescription found;
  if (info[1].IsUndefined() || info[1].ToBoolean())
    found = describe_cuda(string_argument(info[0], "cudnn"));
  else
    found.reason = "it was not looked for";

  Napi::Object result = Napi::Object::New(env);
  result["version"] = DEEPLAB_VERSION;
  result["cpu"] = cpu;
  result["onednn"] = onednn;
  result["precisions"] = to_array(env, precisions);
  result["autoPrecision"] = precision_name(cpu_backend()->auto_precision());
  result["memory"] = memory;
  result["cuda"] = to_object(env, found);
  return result;
}

// setCudaLibrary(path)
void set_cuda_library_path(const Napi::CallbackInfo& info) { set_cuda_library(string_argument(info[0], "path")); }

// stop(): ends all work in the process, without an answer, and waits for its threads.
void stop(const Napi::CallbackInfo&) { stop_for_exit(); }

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment(env);
  env.SetInstanceData(environment);  // deleted with the environment
  environment->model_class = Napi::Persistent(ModelObject::define(env));
  environment->crf_class = Napi::Persistent(CrfObject::define(env));
  environment->trainer_class = Napi::Persistent(TrainerObject::define(env));
  exports["loadModel"] = Napi::Function::New<ModelObject::load>(env, "loadModel");
  exports["inspectModel"] = Napi::Function::New<inspect_model>(env, "inspectModel");
  exports["inspectConfig"] = Napi::Function::New<inspect_config>(env, "inspectConfig");
  exports["cpuImplementations"] = Napi::Function::New<list_cpu_implementations>(env, "cpuImplementations");
  exports["createCrf"] = Napi::Function::New<CrfObject::create>(env, "createCrf");
  exports["createTrainer"] = Napi::Function::New<TrainerObject::create>(env, "createTrainer");
  exports["tuneModel"] = Napi::Function::New<tune_model>(env, "tuneModel");
  exports["graph"] = Napi::Function::New<describe_graph>(env, "graph");
  exports["readTensors"] = Napi::Function::New<read_tensors>(env, "readTensors");
  exports["stop"] = Napi::Function::New<stop>(env, "stop");
  exports["system"] = Napi::Function::New<describe_system>(env, "system");
  exports["setCudaLibrary"] = Napi::Function::New<set_cuda_library_path>(env, "setCudaLibrary");
  return exports;
}

}  // namespace
}  // namespace deeplab

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) { return deeplab::initialize(env, exports); }

NODE_API_MODULE(deeplab, initialize_addon)

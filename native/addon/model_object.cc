#include "addon/model_object.h"

#include <algorithm>

#include "addon/convert.h"
#include "addon/crf_parameters.h"
#include "core/memory.h"

namespace deeplab {
namespace {

constexpr const char* kFuseRules[] = {"max", "mean"};
// How an image meets the network: as the weights file says, as it is, its longer side resized, in tiles.
enum class Fit { kModel, kNative, kLongest, kTile };
constexpr const char* kFits[] = {"model", "native", "longest", "tile"};
constexpr int kMaxFitSize = 1 << 15;
constexpr const char* kPriorities[] = {"interactive", "bulk"};
constexpr int kMaxBatch = 1024;
constexpr int kMaxDelayMs = 60'000;

BucketRule buckets_argument(const Napi::Object& options) {
  BucketRule rule;
  rule.multiple = integer_argument(options.Get("bucketMultiple"), "bucketMultiple", 1, kMaxImageSide);
  const Napi::Value sizes = options.Get("bucketSizes");
  const uint32_t count = sizes.IsArray() ? sizes.As<Napi::Array>().Length() : 0;
  for (uint32_t i = 0; i < count; ++i) {
    const Napi::Object size = object_argument(sizes.As<Napi::Array>().Get(i), "bucketSizes");
    rule.sizes.push_back({integer_argument(size.Get("width"), "width", 1, kMaxImageSide),
                          integer_argument(size.Get("height"), "height", 1, kMaxImageSide)});
  }
  return rule;
}

SessionOptions session_options(const Napi::CallbackInfo& info) {
  SessionOptions options;
  const Napi::Object given = object_argument(info[1], "options");
  options.network = network_argument(info[0], given);
  options.network.threads = static_cast<int>(integer_argument(given.Get("threads"), "threads", 1, 1024));
  options.cache_size = static_cast<int>(integer_argument(given.Get("cacheSize"), "cacheSize", 1, 1024));
  const int64_t max_batch = integer_argument(given.Get("maxBatch"), "maxBatch", 0, kMaxBatch);
  if (max_batch > 0) options.max_batch = max_batch;
  const double delay_ms = number_argument(given.Get("maxDelayMs"), "maxDelayMs", 0, kMaxDelayMs);
  options.max_delay = std::chrono::microseconds(static_cast<int64_t>(delay_ms * 1000));
  options.buckets = buckets_argument(given);
  return options;
}

SegmentRequest segment_request(const Napi::CallbackInfo& info) {
  SegmentRequest request;
  request.image = image_argument(info[1], info[2], info[3]);
  bytes_argument(info[0], "pixels", request.image.elements());
  return request;
}

InferenceMode mode_argument(const Napi::Object& options) {
  const Napi::Env env = options.Env();
  const Napi::Value scales = options.Get("scales");
  if (!scales.IsArray()) throw to_error(env, error(Code::kInvalidArgument, "Expected an array for scales"));
  InferenceMode mode;
  mode.scales.clear();
  const auto given = scales.As<Napi::Array>();
  // One too many is enough to see.
  for (uint32_t i = 0; i < std::min<uint32_t>(given.Length(), kMaxScales + 1); ++i) {
    mode.scales.push_back(number_argument(given.Get(i), "scales", kLeastScale, kMostScale));
  }
  mode.fuse = choice_argument<FuseRule>(options.Get("fuse"), "fuse", kFuseRules);
  mode.flip = options.Get("flip").ToBoolean();
  throw_if_error(env, check_mode(mode));
  const Fit fit = choice_argument<Fit>(options.Get("fit"), "fit", kFits);
  if (fit == Fit::kModel) return mode;
  mode.input = InputRule{};
  if (fit == Fit::kLongest) {
    const auto longest = static_cast<int>(integer_argument(options.Get("size"), "size", 1, kMaxFitSize));
    mode.input = InputRule{ResizeRule::kLongest, longest};
  }
  return mode;
}

// Of NativeSegmentOptions with fit 'tile'.
std::optional<Tiling> tiling_argument(const Napi::Object& options) {
  if (choice_argument<Fit>(options.Get("fit"), "fit", kFits) != Fit::kTile) return std::nullopt;
  Tiling tiling;
  tiling.size = static_cast<int>(integer_argument(options.Get("size"), "size", 1, kMaxFitSize));
  tiling.overlap = static_cast<int>(integer_argument(options.Get("overlap"), "overlap", 0, tiling.size - 1));
  return tiling;
}

// The result object of a request, with the buffers that the session fills while nobody else sees them.
// `classes` is zero where no scores are wanted, `logits` empty where no logits are.
Napi::Object allocate_result(Napi::Env env, const Shape& image, int64_t classes, const Shape& logits,
                             RunOutput* output) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Uint8Array labels = Napi::Uint8Array::New(env, image.h * image.w);
  output->labels = labels.Data();
  result["labels"] = labels;
  if (classes != 0) {
    Napi::Float32Array scores = Napi::Float32Array::New(env, classes * image.h * image.w);
    output->scores = scores.Data();
    result["scores"] = scores;
  }
  if (logits.elements() != 0) {
    Napi::Float32Array data = Napi::Float32Array::New(env, logits.elements());
    output->logits = data.Data();
    Napi::Object tensor = Napi::Object::New(env);
    tensor["data"] = data;
    tensor["shape"] = to_array(env, Dims{logits.c, logits.h, logits.w});
    result["logits"] = tensor;
  }
  return result;
}

}  // namespace

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {InstanceAccessor<&ModelObject::info>("info"), InstanceMethod<&ModelObject::segment>("segment"),
                      InstanceMethod<&ModelObject::cancel>("cancel"), InstanceMethod<&ModelObject::close>("close"),
                      InstanceMethod<&ModelObject::abort>("abort"), InstanceMethod<&ModelObject::stats>("stats")});
}

Napi::Value ModelObject::load(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  SessionOptions options = session_options(info);
  const Napi::Object object = environment.model_class.New({});
  ModelObject* model = Unwrap(object);
  auto pending = environment.start_promise(info.Env(), object, object, model->tell_memory());
  model->session_ = std::make_unique<Session>(std::move(options), std::move(pending.settle));
  model->workers_ = environment.workers;
  environment.workers->insert(&model->session_->worker());
  return making(info.Env(), object, pending.promise);
}

// A pending request keeps its model alive, so the session is idle and stops at once.
ModelObject::~ModelObject() {
  external_memory_.set(Env(), 0);
  if (session_ != nullptr) workers_->erase(&session_->worker());
}

Environment::Complete ModelObject::tell_memory() {
  return [this](Napi::Object object) { external_memory_.set(object.Env(), session_->memory_bytes()); };
}

Session& ModelObject::session(Napi::Env env) const {
  if (session_ == nullptr) throw to_error(env, error(Code::kInvalidArgument, "Expected a model made by loadModel"));
  return *session_;
}

Napi::Value ModelObject::info(const Napi::CallbackInfo& info) {
  const SessionInfo& session = this->session(info.Env()).info();
  Napi::Object object = Napi::Object::New(info.Env());
  set_config(object, session.config);
  object["device"] = session.device;
  object["precision"] = precision_name(session.precision);
  object["threads"] = session.threads;
  object["maxBatch"] = static_cast<double>(session.max_batch);
  return object;
}

Napi::Value ModelObject::segment(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  SegmentRequest request = segment_request(info);
  Session& session = this->session(env);
  const Napi::Object options = object_argument(info[4], "options");
  const size_t classes = options.Get("scores").ToBoolean() ? session.info().config.classes.size() : 0;
  request.mode = mode_argument(options);
  request.tiling = tiling_argument(options);
  request.priority = choice_argument<Priority>(options.Get("priority"), "priority", kPriorities);
  Shape logits;
  if (options.Get("logits").ToBoolean()) {
    auto shape = session.logits_shape(request);
    if (!shape.ok()) throw to_error(env, shape.status());
    logits = *shape;
  }

  if (!options.Get("crf").IsUndefined()) request.crf = crf_parameters_argument(options.Get("crf"));

  const size_t result_bytes = request.image.h * request.image.w * (1 + classes * sizeof(float));
  throw_if_error(env, check_memory(request.image.elements() + result_bytes, "the result"));

  const Napi::Object result = allocate_result(env, request.image, classes, logits, &request.output);
  const uint8_t* pixels = info[0].As<Napi::Uint8Array>().Data();
  request.pixels.assign(pixels, pixels + request.image.elements());
  request.id = next_id_++;
  const auto times = std::make_shared<TaskTimes>();
  const auto complete = [this, times](Napi::Object result) {
    result["queuedMs"] = times->queued_ms;
    result["computedMs"] = times->computed_ms;
    external_memory_.set(result.Env(), session_->memory_bytes());
  };
  auto started = Environment::of(env).start_request(env, request.id, result, info.This().As<Napi::Object>(), complete);
  request.done = [times, settle = std::move(started.settle)](const Status& status, const TaskTimes& taken) {
    *times = taken;
    settle(status);
  };
  session.submit(std::move(request));
  return started.handle;
}

Napi::Value ModelObject::cancel(const Napi::CallbackInfo& info) {
  return cancel_request(info, session(info.Env()).worker());
}

Napi::Value ModelObject::abort(const Napi::CallbackInfo& info) {
  return abort_worker(info, session(info.Env()).worker());
}

Napi::Value ModelObject::stats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const WorkerStats stats = session(env).worker().stats();
  Napi::Array batches = Napi::Array::New(env, stats.batches.size());
  uint32_t i = 0;
  for (const auto& [size, runs] : stats.batches) {
    Napi::Object batch = Napi::Object::New(env);
    batch["size"] = static_cast<double>(size);
    batch["runs"] = static_cast<double>(runs);
    batches[i++] = batch;
  }
  Napi::Object object = Napi::Object::New(env);
  object["queued"] = static_cast<double>(stats.queued);
  object["running"] = static_cast<double>(stats.running);
  object["batches"] = batches;
  object["memoryBytes"] = static_cast<double>(session(env).memory_bytes());
  object["deviceBytes"] = static_cast<double>(session(env).device_bytes());
  return object;
}

Napi::Value ModelObject::close(const Napi::CallbackInfo& info) {
  return close_worker(info, session(info.Env()).worker(), tell_memory());
}

}  // namespace deeplab

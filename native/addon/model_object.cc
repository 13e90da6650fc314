#include "addon/model_object.h"

#include <algorithm>

#include "addon/convert.h"
#include "addon/crf_parameters.h"
#include "core/memory.h"

namespace deeplab {
namespace {

constexpr const char* kFuseRules[] = {"max", "mean"};
constexpr double kMinScale = 0.25;
constexpr double kMaxScale = 4;
constexpr uint32_t kMaxScales = 8;

SessionOptions session_options(const Napi::CallbackInfo& info) {
  SessionOptions options;
  const Napi::Object given = object_argument(info[1], "options");
  options.network = network_argument(info[0], given);
  options.network.threads = static_cast<int>(integer_argument(given.Get("threads"), "threads", 1, 1024));
  options.cache_size = static_cast<int>(integer_argument(given.Get("cacheSize"), "cacheSize", 1, 1024));
  return options;
}

SegmentRequest segment_request(const Napi::CallbackInfo& info) {
  SegmentRequest request;
  request.image = image_argument(info[1], info[2], info[3]);
  bytes_argument(info[0], "pixels", request.image.elements());
  return request;
}

std::vector<double> scales_argument(const Napi::Value& value) {
  const auto wrong = [&] {
    return to_error(value.Env(), error(Code::kInvalidArgument, "Expected an array of 1 to ", kMaxScales,
                                       " different numbers, 1 among them, for scales"));
  };
  if (!value.IsArray()) throw wrong();
  const auto given = value.As<Napi::Array>();
  const uint32_t count = given.Length();
  if (count == 0 || count > kMaxScales) throw wrong();
  std::vector<double> scales;
  const auto has = [&](double scale) { return std::find(scales.begin(), scales.end(), scale) != scales.end(); };
  for (uint32_t i = 0; i < count; ++i) {
    const double scale = number_argument(given.Get(i), "scales", kMinScale, kMaxScale);
    if (has(scale)) throw wrong();
    scales.push_back(scale);
  }
  if (!has(1)) throw wrong();
  return scales;
}

InferenceMode mode_argument(const Napi::Object& options) {
  InferenceMode mode;
  mode.scales = scales_argument(options.Get("scales"));
  mode.fuse = choice_argument<FuseRule>(options.Get("fuse"), "fuse", kFuseRules);
  mode.flip = options.Get("flip").ToBoolean();
  return mode;
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
                      InstanceMethod<&ModelObject::cancel>("cancel"), InstanceMethod<&ModelObject::close>("close")});
}

Napi::Value ModelObject::load(const Napi::CallbackInfo& info) {
  Environment& environment = Environment::of(info.Env());
  SessionOptions options = session_options(info);
  const Napi::Object object = environment.model_class.New({});
  auto pending = environment.start_promise(info.Env(), object, object);
  ModelObject* model = Unwrap(object);
  model->session_ = std::make_unique<Session>(std::move(options), std::move(pending.settle));
  model->workers_ = environment.workers;
  environment.workers->insert(&model->session_->worker());
  return pending.promise;
}

// A pending request keeps its model alive, so the session is idle and stops at once.
ModelObject::~ModelObject() {
  if (session_ != nullptr) workers_->erase(&session_->worker());
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
  return object;
}

Napi::Value ModelObject::segment(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  SegmentRequest request = segment_request(info);
  Session& session = this->session(env);
  const Napi::Object options = object_argument(info[4], "options");
  const size_t classes = options.Get("scores").ToBoolean() ? session.info().config.classes.size() : 0;
  Shape logits;
  if (options.Get("logits").ToBoolean()) {
    auto shape = session.logits_shape(request.image);
    if (!shape.ok()) throw to_error(env, shape.status());
    logits = *shape;
  }

  request.mode = mode_argument(options);
  if (!options.Get("crf").IsUndefined()) request.crf = crf_parameters_argument(options.Get("crf"));

  const size_t result_bytes = request.image.h * request.image.w * (1 + classes * sizeof(float));
  throw_if_error(env, check_memory(request.image.elements() + result_bytes, "the result"));

  const Napi::Object result = allocate_result(env, request.image, classes, logits, &request.output);
  const uint8_t* pixels = info[0].As<Napi::Uint8Array>().Data();
  request.pixels.assign(pixels, pixels + request.image.elements());
  request.id = next_id_++;
  auto started = Environment::of(env).start_request(env, request.id, result, info.This().As<Napi::Object>());
  request.done = std::move(started.settle);
  session.submit(std::move(request));
  return started.handle;
}

Napi::Value ModelObject::cancel(const Napi::CallbackInfo& info) {
  return cancel_request(info, session(info.Env()).worker());
}

Napi::Value ModelObject::close(const Napi::CallbackInfo& info) {
  return close_worker(info, session(info.Env()).worker());
}

}  // namespace deeplab

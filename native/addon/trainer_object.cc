#include "addon/trainer_object.h"

#include <cmath>

#include "addon/convert.h"

namespace deeplab {
namespace {

constexpr int64_t kMaxBatch = 1024;

TrainingRequest training_request(const Napi::CallbackInfo& info) {
  const Napi::Object given = object_argument(info[1], "options");
  static constexpr const char* kBatchNorms[] = {"frozen", "trained"};
  static constexpr const char* kLosses[] = {"grid", "image"};
  TrainingRequest request;
  request.path = string_argument(info[0], "path");
  request.device = string_argument(given.Get("device"), "device");
  request.cudnn = string_argument(given.Get("cudnn"), "cudnn");
  request.precision = precision_argument(given.Get("precision"));
  request.threads = static_cast<int>(integer_argument(given.Get("threads"), "threads", 1, 1024));
  request.images = image_argument(given.Get("width"), given.Get("height"), Napi::Number::New(info.Env(), 3));
  request.images.n = integer_argument(given.Get("batch"), "batch", 1, kMaxBatch);
  TrainingOptions& options = request.options;
  options.batch_norm = choice_argument<BatchNormMode>(given.Get("batchNorm"), "batchNorm", kBatchNorms);
  options.batch_norm_momentum =
      static_cast<float>(number_argument(given.Get("batchNormMomentum"), "batchNormMomentum", 0, 1));
  options.dropout = static_cast<float>(number_argument(given.Get("dropout"), "dropout", 0, 0.99));
  options.loss = choice_argument<LossGrid>(given.Get("loss"), "loss", kLosses);
  options.ignore_label = static_cast<int>(integer_argument(given.Get("ignoreLabel"), "ignoreLabel", 0, 255));
  const Napi::Float32Array weights = floats_argument(given.Get("classWeights"), "classWeights", -1);
  options.class_weights.assign(weights.Data(), weights.Data() + weights.ElementLength());
  for (const float weight : options.class_weights) {
    if (std::isfinite(weight) && weight >= 0) continue;
    throw to_error(info.Env(), error(Code::kInvalidArgument,
                                     "Expected numbers of at least 0 for classWeights but received ", weight));
  }
  return request;
}

ParameterValues values_argument(const Napi::Value& value) {
  static constexpr const char* kNames[] = {"value", "momentum", "gradient"};
  return choice_argument<ParameterValues>(value, "values", kNames);
}

int parameter_argument(const Napi::Value& value, const TrainingNetwork& network) {
  const auto count = static_cast<int64_t>(network.parameters.size());
  return static_cast<int>(integer_argument(value, "parameter", 0, count - 1));
}

// How many floats of a kind a parameter has.
int64_t elements_of(const Parameter& parameter, ParameterValues values) {
  return values == ParameterValues::kValue || parameter.trained ? parameter.elements() : 0;
}

// ERR_INVALID_ARGUMENT for a label that is neither a class nor ignored.
Status check_labels(const std::vector<uint8_t>& labels, const TrainingNetwork& network) {
  const auto classes = static_cast<int>(network.options.class_weights.size());
  bool known[256] = {};
  for (int label = 0; label < 256; ++label) known[label] = label < classes || label == network.options.ignore_label;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (known[labels[i]]) continue;
    const auto pixel = static_cast<int64_t>(i);
    const Shape& images = network.images;
    return error(Code::kInvalidArgument, "Expected labels of ", classes, " classes, or ", network.options.ignore_label,
                 ", which is ignored, but received ", static_cast<int>(labels[i]), " in image ",
                 pixel / (images.h * images.w), " at x ", pixel % images.w, ", y ", pixel / images.w % images.h);
  }
  return Status();
}

template <typename Element, typename JsArray>
std::vector<Element> copy(const JsArray& array) {
  return {array.Data(), array.Data() + array.ElementLength()};
}

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeTrainer",
      {InstanceAccessor<&TrainerObject::device>("device"), InstanceAccessor<&TrainerObject::precision>("precision"),
       InstanceAccessor<&TrainerObject::threads>("threads"), InstanceAccessor<&TrainerObject::parameters>("parameters"),
       InstanceAccessor<&TrainerObject::activation_bytes>("activationBytes"),
       InstanceAccessor<&TrainerObject::parameter_bytes>("parameterBytes"),
       InstanceMethod<&TrainerObject::accumulate>("accumulate"), InstanceMethod<&TrainerObject::update>("update"),
       InstanceMethod<&TrainerObject::read>("read"), InstanceMethod<&TrainerObject::write>("write"),
       InstanceMethod<&TrainerObject::cancel>("cancel"), InstanceMethod<&TrainerObject::close>("close"),
       InstanceMethod<&TrainerObject::abort>("abort")});
}

Napi::Value TrainerObject::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  TrainingRequest request = training_request(info);
  Environment& environment = Environment::of(env);
  const Napi::Object object = environment.trainer_class.New({});
  TrainerObject* trainer = Unwrap(object);
  trainer->threads_ = request.threads;
  const auto tell_memory = [trainer](Napi::Object object) {
    HeldMemory held = trainer->session_->activation_memory();
    held += trainer->session_->parameter_memory();
    trainer->external_memory_.set(object.Env(), held.host_bytes);
  };
  auto pending = environment.start_promise(env, object, object, tell_memory);
  trainer->session_ = std::make_unique<TrainingSession>(std::move(request), std::move(pending.settle));
  trainer->workers_ = environment.workers;
  environment.workers->insert(&trainer->session_->worker());
  return making(env, object, pending.promise);
}

// A pending call keeps its trainer alive, so the session is idle and stops at once.
TrainerObject::~TrainerObject() {
  external_memory_.set(Env(), 0);
  if (session_ != nullptr) workers_->erase(&session_->worker());
}

TrainingSession& TrainerObject::session(Napi::Env env) const {
  if (session_ == nullptr) throw to_error(env, error(Code::kInvalidArgument, "Expected a trainer of createTrainer"));
  return *session_;
}

Napi::Value TrainerObject::device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), session(info.Env()).device());
}

Napi::Value TrainerObject::precision(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), precision_name(session(info.Env()).precision()));
}

Napi::Value TrainerObject::threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), threads_); }

Napi::Value TrainerObject::parameters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  static constexpr const char* kKinds[] = {"kernel", "bias", "scale", "shift", "mean", "variance"};
  const std::vector<Parameter>& all = session(env).network().parameters;
  Napi::Array list = Napi::Array::New(env, all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    Napi::Object parameter = Napi::Object::New(env);
    parameter["name"] = all[i].name;
    parameter["shape"] = to_array(env, all[i].dims);
    parameter["kind"] = kKinds[static_cast<size_t>(all[i].kind)];
    parameter["trained"] = all[i].trained;
    list[i] = parameter;
  }
  return list;
}

Napi::Value TrainerObject::activation_bytes(const Napi::CallbackInfo& info) {
  const HeldMemory held = session(info.Env()).activation_memory();
  return Napi::Number::New(info.Env(), static_cast<double>(held.host_bytes + held.device_bytes));
}

Napi::Value TrainerObject::parameter_bytes(const Napi::CallbackInfo& info) {
  const HeldMemory held = session(info.Env()).parameter_memory();
  return Napi::Number::New(info.Env(), static_cast<double>(held.host_bytes + held.device_bytes));
}

Napi::Value TrainerObject::submit(const Napi::CallbackInfo& info, Napi::Object result, TrainingSession::Work work,
                                  Environment::Complete complete) {
  const Napi::Env env = info.Env();
  const uint64_t id = next_id_++;
  auto started = Environment::of(env).start_request(env, id, result, info.This().As<Napi::Object>(), complete);
  session_->submit(id, std::move(work), std::move(started.settle));
  return started.handle;
}

Napi::Value TrainerObject::accumulate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const TrainingNetwork& network = session(env).network();
  const Shape& images = network.images;
  const int64_t pixels = images.n * images.h * images.w;
  const Napi::Object options = object_argument(info[2], "options");
  // What the work writes and the promise's end reads.
  struct Call {
    std::vector<uint8_t> pixels, labels;
    TrainingBatch batch;
    double loss = 0;
  };
  auto call = std::make_shared<Call>();
  call->pixels = copy<uint8_t>(bytes_argument(info[0], "pixels", 3 * pixels));
  call->labels = copy<uint8_t>(bytes_argument(info[1], "labels", pixels));
  throw_if_error(env, check_labels(call->labels, network));
  call->batch.pixels = call->pixels.data();
  call->batch.labels = call->labels.data();
  call->batch.scale = static_cast<float>(number_argument(options.Get("scale"), "scale", 0, 1e9));
  call->batch.seed = static_cast<uint64_t>(integer_argument(options.Get("seed"), "seed", 0, int64_t{1} << 53));
  const auto work = [call](Trainer& trainer, const std::atomic<bool>& cancelled) {
    return trainer.accumulate(call->batch, &call->loss, cancelled);
  };
  return submit(info, Napi::Object::New(env), work, [call](Napi::Object result) { result["loss"] = call->loss; });
}

Napi::Value TrainerObject::update(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto count = static_cast<int64_t>(session(env).network().parameters.size());
  const Napi::Object options = object_argument(info[0], "options");
  struct Call {
    std::vector<float> rates, decays;
    float momentum = 0;
  };
  auto call = std::make_shared<Call>();
  call->rates = copy<float>(floats_argument(options.Get("learningRates"), "learningRates", count));
  call->decays = copy<float>(floats_argument(options.Get("weightDecays"), "weightDecays", count));
  call->momentum = static_cast<float>(number_argument(options.Get("momentum"), "momentum", 0, 1));
  const auto work = [call](Trainer& trainer, const std::atomic<bool>&) {
    return trainer.update({call->rates.data(), call->decays.data(), call->momentum});
  };
  return submit(info, Napi::Object::New(env), work);
}

Napi::Value TrainerObject::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const TrainingNetwork& network = session(env).network();
  const int parameter = parameter_argument(info[0], network);
  const ParameterValues values = values_argument(info[1]);
  Napi::Float32Array data = Napi::Float32Array::New(env, elements_of(network.parameters[parameter], values));
  Napi::Object result = Napi::Object::New(env);
  result["data"] = data;
  if (data.ElementLength() == 0)
    return submit(info, result, [](Trainer&, const std::atomic<bool>&) { return Status(); });
  const auto work = [parameter, values, out = data.Data()](Trainer& trainer, const std::atomic<bool>&) {
    return trainer.read(parameter, values, out);
  };
  return submit(info, result, work);
}

Napi::Value TrainerObject::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const TrainingNetwork& network = session(env).network();
  const int parameter = parameter_argument(info[0], network);
  const ParameterValues values = values_argument(info[1]);
  const int64_t elements = elements_of(network.parameters[parameter], values);
  auto data = std::make_shared<std::vector<float>>(copy<float>(floats_argument(info[2], "data", elements)));
  const auto work = [parameter, values, data](Trainer& trainer, const std::atomic<bool>&) {
    return data->empty() ? Status() : trainer.write(parameter, values, data->data());
  };
  return submit(info, Napi::Object::New(env), work);
}

Napi::Value TrainerObject::cancel(const Napi::CallbackInfo& info) {
  return cancel_request(info, session(info.Env()).worker());
}

Napi::Value TrainerObject::abort(const Napi::CallbackInfo& info) {
  return abort_worker(info, session(info.Env()).worker());
}

Napi::Value TrainerObject::close(const Napi::CallbackInfo& info) {
  const auto tell_memory = [this](Napi::Object object) { external_memory_.set(object.Env(), 0); };
  return close_worker(info, session(info.Env()).worker(), tell_memory);
}

}  // namespace deeplab

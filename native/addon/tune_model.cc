#include "addon/tune_model.h"

#include <algorithm>

#include "addon/convert.h"
#include "addon/environment.h"
#include "session/tune.h"

namespace deeplab {
namespace {

constexpr int kMaxBatch = 1024;

// What a call has its thread do. It belongs to the JavaScript function that aborts it, which the pending promise keeps
// alive.
class TuneCall {
 public:
  TuneCall(NetworkRequest request, const Shape& images, std::shared_ptr<Environment::Workers> workers)
      : request_(std::move(request)), images_(images), workers_(std::move(workers)) {
    workers_->insert(&worker_);
  }
  ~TuneCall() { workers_->erase(&worker_); }

  void start(Worker::Done done) {
    const auto work = [this](const std::atomic<bool>& cancelled) {
      auto tuned = tune(request_, images_, cancelled);
      if (tuned.ok()) tuning_ = std::move(*tuned);
      return tuned.status();
    };
    worker_.start(work, std::move(done), [] {});
    worker_.close([] {});  // nothing else is to come
  }

  // Once that is done.
  const Tuning& tuning() const { return tuning_; }
  void abort() { worker_.abort(); }

 private:
  const NetworkRequest request_;
  const Shape images_;
  Tuning tuning_;
  const std::shared_ptr<Environment::Workers> workers_;
  Worker worker_{"the tuning"};  // last, so that it stops before anything is gone
};

void set_tuning(Napi::Object object, const Tuning& tuning) {
  const Napi::Env env = object.Env();
  const auto timed_now = [](const LayerImplementation& layer) { return layer.milliseconds > 0 && !layer.cached; };
  Napi::Array layers = Napi::Array::New(env, tuning.layers.size());
  for (uint32_t i = 0; i < tuning.layers.size(); ++i) {
    Napi::Object layer = Napi::Object::New(env);
    layer["layer"] = tuning.layers[i].layer;
    layer["implementation"] = tuning.layers[i].implementation;
    layer["milliseconds"] = tuning.layers[i].milliseconds;
    layers[i] = layer;
  }
  object["device"] = tuning.device;
  object["precision"] = precision_name(tuning.precision);
  object["timed"] = static_cast<double>(std::count_if(tuning.layers.begin(), tuning.layers.end(), timed_now));
  object["cache"] = tuning.cache;
  object["layers"] = layers;
}

}  // namespace

Napi::Value tune_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  NetworkRequest request = network_argument(info[0], object_argument(info[4], "options"));
  Shape images = image_argument(info[1], info[2], Napi::Number::New(env, 3));
  images.n = integer_argument(info[3], "batch", 1, kMaxBatch);

  Environment& environment = Environment::of(env);
  const auto call = std::make_shared<TuneCall>(std::move(request), images, environment.workers);
  const auto abort = [call](const Napi::CallbackInfo&) { call->abort(); };
  Napi::Object maker = Napi::Object::New(env);
  maker["abort"] = Napi::Function::New(env, abort, "abort");
  const auto complete = [call](Napi::Object result) { set_tuning(result, call->tuning()); };
  auto pending = environment.start_promise(env, Napi::Object::New(env), maker, complete);
  call->start(std::move(pending.settle));
  return making(env, maker, pending.promise);
}

}  // namespace deeplab

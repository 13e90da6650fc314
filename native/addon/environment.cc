#include "addon/environment.h"

#include "addon/convert.h"

namespace deeplab {
namespace {

// Node calls this on the JavaScript thread, or with a null `env` for tasks left over at its end.
void run_task(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Gate::Task> task(static_cast<Gate::Task*>(data));
  if (env == nullptr) return;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  try {
    (*task)(env);
  } catch (const Napi::Error&) {
    // A worker that is being terminated runs no more JavaScript, and its promises are nobody's any more.
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace

Gate::Gate(Napi::Env env) {
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "deeplab"),
                                                             0, 1, nullptr, nullptr, nullptr, run_task, &function_);
  if (status != napi_ok) throw Napi::Error::New(env, "cannot create a thread-safe function");
  napi_unref_threadsafe_function(env, function_);
}

void Gate::post(Task task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!open_) return;
  auto* data = new Task(std::move(task));
  if (napi_call_threadsafe_function(function_, data, napi_tsfn_nonblocking) != napi_ok) delete data;
}

void Gate::set_busy(Napi::Env env, bool busy) {
  if (busy) {
    napi_ref_threadsafe_function(env, function_);
  } else {
    napi_unref_threadsafe_function(env, function_);
  }
}

void Gate::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!open_) return;
  open_ = false;
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

// The hook is added after the thread-safe function was created, which makes it run before Node ends that function.
Environment::Environment(Napi::Env env) : gate_(std::make_shared<Gate>(env)) {
  env.AddCleanupHook([this] { tear_down(); });
}

void Environment::tear_down() {
  gate_->close();
  for (Worker* worker : *workers) worker->stop();
  model_class.SuppressDestruct();  // the environment frees its references itself
  crf_class.SuppressDestruct();
  trainer_class.SuppressDestruct();
  for (auto& [key, waiting] : waiting_) {
    waiting.result.SuppressDestruct();
    waiting.owner.SuppressDestruct();
  }
}

Environment::Pending Environment::start_promise(Napi::Env env, Napi::Object result, Napi::Object owner,
                                                Complete complete) {
  const uint64_t key = next_key_++;
  const auto deferred = Napi::Promise::Deferred::New(env);
  waiting_.emplace(key, Waiting{deferred, Napi::Persistent(result), Napi::Persistent(owner), std::move(complete)});
  if (waiting_.size() == 1) gate_->set_busy(env, true);
  // Session threads hold the gate, which outlives the environment, and the key; `this` is used behind the gate only.
  auto settle = [gate = gate_, this, key](const Status& status) {
    gate->post([this, key, status](Napi::Env env) { this->settle(env, key, status); });
  };
  return {deferred.Promise(), std::move(settle)};
}

Environment::Request Environment::start_request(Napi::Env env, uint64_t id, Napi::Object result, Napi::Object owner,
                                                Complete complete) {
  Napi::Object handle = Napi::Object::New(env);
  handle["id"] = static_cast<double>(id);
  auto pending = start_promise(env, result, owner, std::move(complete));
  handle["result"] = pending.promise;
  return {handle, std::move(pending.settle)};
}

void Environment::settle(Napi::Env env, uint64_t key, const Status& status) {
  auto node = waiting_.extract(key);
  if (node.empty()) return;
  if (waiting_.empty()) gate_->set_busy(env, false);
  Waiting& waiting = node.mapped();
  if (status.ok()) {
    if (waiting.complete) waiting.complete(waiting.result.Value());
    waiting.deferred.Resolve(waiting.result.Value());
  } else {
    waiting.deferred.Reject(to_error(env, status).Value());
  }
}

Napi::Object making(Napi::Env env, Napi::Object maker, Napi::Promise made) {
  Napi::Object both = Napi::Object::New(env);
  both["maker"] = maker;
  both["made"] = made;
  return both;
}

Napi::Value cancel_request(const Napi::CallbackInfo& info, Worker& worker) {
  worker.cancel(static_cast<uint64_t>(integer_argument(info[0], "id", 1, int64_t{1} << 53)));
  return info.Env().Undefined();
}

Napi::Value close_worker(const Napi::CallbackInfo& info, Worker& worker, Environment::Complete complete) {
  const Napi::Env env = info.Env();
  const Napi::Object nothing = Napi::Object::New(env);
  auto pending = Environment::of(env).start_promise(env, nothing, info.This().As<Napi::Object>(), std::move(complete));
  worker.close([settle = std::move(pending.settle)] { settle(Status()); });
  return pending.promise;
}

Napi::Value abort_worker(const Napi::CallbackInfo& info, Worker& worker) {
  worker.abort();
  return info.Env().Undefined();
}

void throw_if_error(Napi::Env env, const Status& status) {
  if (!status.ok()) throw to_error(env, status);
}

Napi::Error to_error(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message());
  error.Set("code", Napi::String::New(env, code_name(status.code())));
  return error;
}

}  // namespace deeplab

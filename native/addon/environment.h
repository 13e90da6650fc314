// What the addon keeps for each JavaScript environment (the main thread, or a worker): the way back from session
// threads, and the promises that wait there.
//
// A session thread may call into an environment only while it lives. Everything that crosses goes through `post`, which
// drops the task once the environment is going; what belongs to JavaScript (promises, buffers) never leaves its thread.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "core/status.h"
#include "session/worker.h"

namespace deeplab {

// The thread-safe function of an environment, and whether it may still be called.
class Gate {
 public:
  using Task = std::function<void(Napi::Env)>;

  explicit Gate(Napi::Env env);
  // Runs `task` on the JavaScript thread, soon. From any thread.
  void post(Task task);
  // Keeps the event loop alive, or no longer. From the JavaScript thread.
  void set_busy(Napi::Env env, bool busy);
  void close();

 private:
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
  bool open_ = true;
};

class Environment {
 public:
  explicit Environment(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // A promise that any thread can settle through the callback that comes with it, with `result` if the status is ok.
  // `result` and `owner` are kept alive while it is pending.
  struct Pending {
    Napi::Promise promise;
    std::function<void(const Status&)> settle;
  };
  // Completes a result that is known only when it is there; on the JavaScript thread, before the promise resolves.
  using Complete = std::function<void(Napi::Object result)>;
  Pending start_promise(Napi::Env env, Napi::Object result, Napi::Object owner, Complete complete = nullptr);

  // The { id, result } of a request, and the callback that settles it.
  struct Request {
    Napi::Object handle;
    std::function<void(const Status&)> settle;
  };
  Request start_request(Napi::Env env, uint64_t id, Napi::Object result, Napi::Object owner,
                        Complete complete = nullptr);

  // Workers to stop at the environment's end. Shared, because objects are finalized after this one.
  using Workers = std::set<Worker*>;
  const std::shared_ptr<Workers> workers = std::make_shared<Workers>();

  Napi::FunctionReference model_class;
  Napi::FunctionReference crf_class;
  Napi::FunctionReference trainer_class;

 private:
  struct Waiting {
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference result;
    Napi::ObjectReference owner;
    Complete complete;
  };

  void settle(Napi::Env env, uint64_t key, const Status& status);
  void tear_down();

  std::shared_ptr<Gate> gate_;
  std::unordered_map<uint64_t, Waiting> waiting_;
  uint64_t next_key_ = 0;
};

// The { maker, made } of something that takes time to make (NativeMaking of lib/native.ts).
Napi::Object making(Napi::Env env, Napi::Object maker, Napi::Promise made);

// The methods cancel(id), close() and abort() of an object whose work `worker` does.
Napi::Value cancel_request(const Napi::CallbackInfo& info, Worker& worker);
// `complete` as in start_promise.
Napi::Value close_worker(const Napi::CallbackInfo& info, Worker& worker, Environment::Complete complete);
Napi::Value abort_worker(const Napi::CallbackInfo& info, Worker& worker);

// A JavaScript error with the status' code and message; lib/native.ts makes it a DeepLabError.
Napi::Error to_error(Napi::Env env, const Status& status);
void throw_if_error(Napi::Env env, const Status& status);

}  // namespace deeplab

// NativeTrainer of lib/native.ts: a TrainingSession as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/environment.h"
#include "addon/external_memory.h"
#include "session/training_session.h"

namespace deeplab {

class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // createTrainer(path, options): NativeMaking
  static Napi::Value create(const Napi::CallbackInfo& info);

  explicit TrainerObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TrainerObject>(info) {}
  ~TrainerObject() override;

 private:
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value precision(const Napi::CallbackInfo& info);
  Napi::Value threads(const Napi::CallbackInfo& info);
  Napi::Value parameters(const Napi::CallbackInfo& info);
  Napi::Value activation_bytes(const Napi::CallbackInfo& info);
  Napi::Value parameter_bytes(const Napi::CallbackInfo& info);
  Napi::Value accumulate(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);

  // Throws where JavaScript has constructed an object without createTrainer.
  TrainingSession& session(Napi::Env env) const;
  // The { id, result } of work that is queued now.
  Napi::Value submit(const Napi::CallbackInfo& info, Napi::Object result, TrainingSession::Work work,
                     Environment::Complete complete = nullptr);

  std::shared_ptr<Environment::Workers> workers_;  // where the session's is listed
  std::unique_ptr<TrainingSession> session_;
  ExternalMemory external_memory_;
  int threads_ = 1;
  uint64_t next_id_ = 1;
};

}  // namespace deeplab

// NativeModel of lib/native.ts: a Session as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/environment.h"
#include "addon/external_memory.h"
#include "session/session.h"

namespace deeplab {

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // loadModel(path, options): NativeMaking
  static Napi::Value load(const Napi::CallbackInfo& info);

  explicit ModelObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelObject>(info) {}
  ~ModelObject() override;

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value segment(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);

  // Throws where JavaScript has constructed an object without loading a model.
  Session& session(Napi::Env env) const;
  // Tells V8 what the session holds; called when a promise is settled, which keeps this object.
  Environment::Complete tell_memory();

  std::shared_ptr<Environment::Workers> workers_;  // where the session's is listed
  std::unique_ptr<Session> session_;
  ExternalMemory external_memory_;
  uint64_t next_id_ = 1;
};

}  // namespace deeplab

// NativeCrf of lib/native.ts: a CrfSession as a JavaScript object.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/environment.h"
#include "addon/external_memory.h"
#include "session/crf_session.h"

namespace deeplab {

class CrfObject : public Napi::ObjectWrap<CrfObject> {
 public:
  static Napi::Function define(Napi::Env env);
  // createCrf(pixels, width, height, channels, options): NativeMaking
  static Napi::Value create(const Napi::CallbackInfo& info);

  explicit CrfObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CrfObject>(info) {}
  ~CrfObject() override;

 private:
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value lattice_bytes(const Napi::CallbackInfo& info);
  Napi::Value vertices(const Napi::CallbackInfo& info);
  Napi::Value inference_bytes(const Napi::CallbackInfo& info);
  Napi::Value infer(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);

  // Throws where JavaScript has constructed an object without createCrf.
  CrfSession& session(Napi::Env env) const;

  std::shared_ptr<Environment::Workers> workers_;  // where the session's is listed
  std::unique_ptr<CrfSession> session_;
  ExternalMemory external_memory_;
  uint64_t next_id_ = 1;
};

}  // namespace deeplab

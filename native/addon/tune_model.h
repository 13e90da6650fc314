// tuneModel(path, width, height, batch, options): Promise<NativeTuning>, of lib/native.ts.
#pragma once

#include <napi.h>

namespace deeplab {

Napi::Value tune_model(const Napi::CallbackInfo& info);

}  // namespace deeplab

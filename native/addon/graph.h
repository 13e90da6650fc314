// A network and its weights as plain JavaScript values, for those who write it in another format.
#pragma once

#include <napi.h>

namespace deeplab {

// graph(path, width, height, outputStride): NativeNode[]
Napi::Value describe_graph(const Napi::CallbackInfo& info);

// readTensors(path, tensors): Float32Array[]
Napi::Value read_tensors(const Napi::CallbackInfo& info);

}  // namespace deeplab

#include "core/status.h"

namespace deeplab {

const char* code_name(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kInvalidArgument: return "ERR_INVALID_ARGUMENT";
    case Code::kNotFound: return "ERR_NOT_FOUND";
    case Code::kInvalidWeights: return "ERR_INVALID_WEIGHTS";
    case Code::kUnsupportedModel: return "ERR_UNSUPPORTED_MODEL";
    case Code::kUnsupportedPrecision: return "ERR_UNSUPPORTED_PRECISION";
    case Code::kDeviceUnavailable: return "ERR_DEVICE_UNAVAILABLE";
    case Code::kDeviceFailed: return "ERR_DEVICE_FAILED";
    case Code::kOutOfMemory: return "ERR_OUT_OF_MEMORY";
    case Code::kClosed: return "ERR_CLOSED";
    case Code::kAborted: return "ERR_ABORTED";
    case Code::kInternal: return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

}  // namespace deeplab

// A CRF's parameters between C++ and the NativeCrfOptions of lib/native.ts.
#pragma once

#include <napi.h>

#include "crf/parameters.h"

namespace deeplab {

Napi::Object crf_parameters(Napi::Env env, const CrfParameters& parameters);
CrfParameters crf_parameters_argument(const Napi::Value& value);

// Parts of it. Features are [dimensions, points].
CrfModel crf_model_argument(const Napi::Object& options, int64_t points);
CrfInference crf_inference_argument(const Napi::Object& options);

}  // namespace deeplab

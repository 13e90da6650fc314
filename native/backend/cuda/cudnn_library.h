// cuDNN, found and opened at run time: no machine needs it to load deeplab, and it is never bundled.
#pragma once

// Every attribute that is deprecated here has no use here.
#include <cudnn_graph.h>

#include <string>

#include "core/status.h"

namespace deeplab::cuda {

// The functions of cuDNN that are used.
struct Cudnn {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) get_error_string = nullptr;
  decltype(&cudnnGetLastErrorString) get_last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

  std::string version;  // "9.24.0"
  std::string path;     // of libcudnn.so.9, as it was opened

  // An error with cuDNN's own words; ERR_DEVICE_FAILED only where the card may have failed.
  Status check(cudnnStatus_t result, const char* what) const;
};

// Opens cuDNN; the first folder where all of it is wins, and is kept for the process. `folder` is looked in first;
// empty: none. ERR_DEVICE_UNAVAILABLE says where it was looked for and what is missing there.
Result<const Cudnn*> open_cudnn(const std::string& folder);

}  // namespace deeplab::cuda

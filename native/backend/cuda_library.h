// The CUDA backend is a shared library of its own, deeplab_cuda.so, opened when it is first asked for: a machine
// without a GPU, a driver or cuDNN loads the addon as well, and is told what is missing.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"

namespace deeplab {

struct GpuDescription {
  int index = 0;
  std::string name;
  std::string compute_capability;  // "9.0"
  size_t total_bytes = 0;
  size_t available_bytes = 0;
  std::vector<Precision> precisions;
  std::string reason;  // why it cannot be used; empty if it can
};

struct CudaDescription {
  std::string reason;   // why no GPU can be used; empty if one can
  std::string library;  // path of deeplab_cuda.so; empty if it could not be opened
  std::string driver;   // the newest CUDA version that the driver knows, such as "13.0"; empty without a driver
  std::string runtime;  // the CUDA version that deeplab_cuda.so was built with
  std::string cudnn;    // version, such as "9.24.0"; empty if there is none
  std::string cudnn_path;
  std::vector<GpuDescription> gpus;
};

// Where deeplab_cuda.so lies if it is not beside the addon; empty: nowhere else. For the next attempt to open it.
void set_cuda_library(const std::string& path);

// `cudnn` is a folder to look for cuDNN in first; empty: none. What was once found is kept for the process.
CudaDescription describe_cuda(const std::string& cudnn = "");

// `index` -1: the first GPU that can compute. ERR_DEVICE_UNAVAILABLE says what is missing and how to get it.
Result<Backend*> cuda_backend(int index, const std::string& cudnn);

// What deeplab_cuda.so exports, by the function `const CudaApi* deeplab_cuda_api()`. Both sides come from the same
// build.
struct CudaApi {
  int version;  // kCudaApiVersion
  CudaDescription (*describe)(const std::string& cudnn);
  Result<Backend*> (*backend)(int index, const std::string& cudnn);
};

// Changes with everything that crosses between the two libraries: backend.h and what it includes.
constexpr int kCudaApiVersion = 2;

}  // namespace deeplab

#include "backend/cuda_library.h"

#include <dlfcn.h>

#include <mutex>

namespace deeplab {
namespace {

constexpr const char* kFileName = "deeplab_cuda.so";

struct Library {
  const CudaApi* api = nullptr;
  std::string path;
  std::string reason;  // why there is no api
};

// Behind one mutex: environments on several threads set the path and ask for the library.
std::mutex mutex;

// The path that set_cuda_library() was given. Never destroyed: other threads may ask while the process ends.
std::string& other_path() {
  static std::string* const path = new std::string();
  return *path;
}

// A build from source leaves it beside the file that this code is in.
std::string path_beside() {
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&path_beside), &self) == 0 || self.dli_fname == nullptr) return kFileName;
  const std::string file = self.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? kFileName : file.substr(0, slash + 1) + kFileName;
}

Library open_library() {
  Library library;
  std::string path = path_beside();
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::string tried;
  if (handle == nullptr && !other_path().empty()) {
    tried = std::string(dlerror()) + "; ";
    path = other_path();
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (handle == nullptr) {
    library.reason = "the CUDA backend is not installed with this build of deeplab: " + tried + dlerror() + ". " +
                     (other_path().empty() ? "" : "It comes as an optional dependency; ") +
                     "from source: npm run build:cuda";
    return library;
  }
  using Entry = const CudaApi* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, "deeplab_cuda_api"));
  const CudaApi* api = entry == nullptr ? nullptr : entry();
  if (api == nullptr || api->version != kCudaApiVersion) {
    library.reason = path + " belongs to another version of deeplab";
    return library;
  }
  library.api = api;
  library.path = path;
  return library;
}

// Opened once, and never closed: its backends live as long as the process. One that could not be opened is tried again.
Library cuda_library() {
  static Library* const library = new Library();
  const std::lock_guard<std::mutex> lock(mutex);
  if (library->api == nullptr) *library = open_library();
  return *library;
}

}  // namespace

void set_cuda_library(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex);
  other_path() = path;
}

CudaDescription describe_cuda(const std::string& cudnn) {
  const Library library = cuda_library();
  CudaDescription description;
  if (library.api != nullptr)
    description = library.api->describe(cudnn);
  else
    description.reason = library.reason;
  description.library = library.path;
  return description;
}

Result<Backend*> cuda_backend(int index, const std::string& cudnn) {
  const Library library = cuda_library();
  if (library.api == nullptr) return Status(Code::kDeviceUnavailable, library.reason);
  return library.api->backend(index, cudnn);
}

}  // namespace deeplab

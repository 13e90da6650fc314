#include "backend/cuda/cudnn_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <vector>

namespace deeplab::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMain = "libcudnn.so.9";
// cuDNN is several libraries. With some of them missing, its first call ends the process; so each is opened before any
// call, those that others need first.
constexpr const char* kParts[] = {"libcudnn_graph.so.9",
                                  "libcudnn_ops.so.9",
                                  "libcudnn_cnn.so.9",
                                  "libcudnn_engines_precompiled.so.9",
                                  "libcudnn_engines_runtime_compiled.so.9",
                                  "libcudnn_heuristic.so.9",
                                  kMain};
// cuDNN looks for it itself, and ends the process where there is none.
constexpr const char* kCublas = "libcublasLt.so.13";
// Device properties as descriptors came with 9.8.
constexpr size_t kOldestVersion = 90800;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where `pip install nvidia-cudnn-cu13` and conda put it, in the environment at `prefix`.
void add_python(const std::string& prefix, std::vector<std::string>* folders) {
  if (prefix.empty()) return;
  folders->push_back(prefix + "/lib");
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(prefix + "/lib", failure)) {
    if (entry.path().filename().string().rfind("python3", 0) != 0) continue;
    for (const char* packages : {"site-packages", "dist-packages"}) {
      folders->push_back((entry.path() / packages / "nvidia/cudnn/lib").string());
    }
  }
}

// In the order in which they are looked in. An empty one is the loader's own search: LD_LIBRARY_PATH, the cache of
// ldconfig.
std::vector<std::string> folders(const std::string& first) {
  std::vector<std::string> folders;
  if (!first.empty()) folders.push_back(first);
  if (const std::string folder = environment("DEEPLAB_CUDNN"); !folder.empty()) folders.push_back(folder);
  folders.emplace_back();
  add_python(environment("VIRTUAL_ENV"), &folders);
  add_python(environment("CONDA_PREFIX"), &folders);
  if (const std::string home = environment("HOME"); !home.empty()) add_python(home + "/.local", &folders);
  add_python("/usr/local", &folders);
  add_python("/usr", &folders);
  folders.insert(folders.end(), {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/cuda/lib64"});
  return folders;
}

template <typename Function>
bool find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

bool find_functions(void* library, Cudnn* cudnn) {
  return find(library, "cudnnGetVersion", &cudnn->get_version) &&
         find(library, "cudnnGetErrorString", &cudnn->get_error_string) &&
         find(library, "cudnnGetLastErrorString", &cudnn->get_last_error_string) &&
         find(library, "cudnnCreate", &cudnn->create) && find(library, "cudnnDestroy", &cudnn->destroy) &&
         find(library, "cudnnSetStream", &cudnn->set_stream) &&
         find(library, "cudnnBackendCreateDescriptor", &cudnn->create_descriptor) &&
         find(library, "cudnnBackendDestroyDescriptor", &cudnn->destroy_descriptor) &&
         find(library, "cudnnBackendSetAttribute", &cudnn->set_attribute) &&
         find(library, "cudnnBackendGetAttribute", &cudnn->get_attribute) &&
         find(library, "cudnnBackendFinalize", &cudnn->finalize) &&
         find(library, "cudnnBackendExecute", &cudnn->execute);
}

// Whether there is anything of cuDNN: an incomplete installation is worth telling of, an empty folder is not.
bool has_any(const std::string& folder) {
  return folder.empty() || std::any_of(std::begin(kParts), std::end(kParts), [&](const char* part) {
           std::error_code failure;
           return fs::exists(folder + "/" + part, failure);
         });
}

// Opens cuBLAS where cuDNN will look for it: beside cuDNN, or in its packages, or wherever the loader finds it.
bool open_cublas(const std::string& folder) {
  std::vector<std::string> paths;
  if (!folder.empty()) {
    for (const char* place : {"/", "/../../cublas/lib/", "/../../cu13/lib/"}) {
      paths.push_back(folder + place + kCublas);
    }
  }
  paths.emplace_back(kCublas);
  paths.push_back(std::string("/usr/local/cuda/lib64/") + kCublas);
  return std::any_of(paths.begin(), paths.end(),
                     [](const std::string& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr; });
}

// Appends to `found` what is wrong with the cuDNN of `folder`, if there is one.
bool open_in(const std::string& folder, Cudnn* cudnn, std::string* found) {
  if (!has_any(folder)) return false;
  void* library = nullptr;
  for (const char* part : kParts) {
    const std::string path = folder.empty() ? part : folder + "/" + part;
    // Not closed again, whatever follows: these libraries do not come apart.
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) continue;
    const char* why = dlerror();
    // That the loader knows nothing of cuDNN is the usual case.
    if (!folder.empty() || part != kParts[0]) *found += std::string("; ") + (why == nullptr ? path : why);
    return false;
  }
  cudnn->path = folder.empty() ? kMain : folder + "/" + kMain;
  if (!open_cublas(folder)) {
    *found += "; " + cudnn->path + " needs " + kCublas + ", which was not found: `pip install nvidia-cublas`, or the " +
              "package libcublas-13-0";
    return false;
  }
  Dl_info where{};
  if (!find_functions(library, cudnn)) {
    *found += "; " + cudnn->path + " lacks functions of cuDNN 9";
    return false;
  }
  if (folder.empty() && dladdr(reinterpret_cast<const void*>(cudnn->get_version), &where) != 0 &&
      where.dli_fname != nullptr) {
    cudnn->path = where.dli_fname;
  }
  const size_t version = cudnn->get_version();
  cudnn->version =
      std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
  if (version >= kOldestVersion) return true;
  *found += "; " + cudnn->path + " is version " + cudnn->version + ", 9.8 is the oldest that can be used";
  return false;
}

Code code_of(cudnnStatus_t result) {
  switch (result) {
    case CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED:
    case CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED: return Code::kOutOfMemory;
    default: break;
  }
  switch (CUDNN_STATUS_CATEGORY(result)) {
    case CUDNN_STATUS_NOT_SUPPORTED: return Code::kUnsupportedModel;
    case CUDNN_STATUS_INTERNAL_ERROR:
    case CUDNN_STATUS_EXECUTION_FAILED: return Code::kDeviceFailed;
    default: return Code::kInternal;  // it was not asked well
  }
}

}  // namespace

Status Cudnn::check(cudnnStatus_t result, const char* what) const {
  if (result == CUDNN_STATUS_SUCCESS) return Status();
  char details[2048] = "";
  get_last_error_string(details, sizeof details);
  return error(code_of(result), "cuDNN ", version, ": ", what, ": ", get_error_string(result),
               details[0] == '\0' ? "" : ": ", details);
}

Result<const Cudnn*> open_cudnn(const std::string& folder) {
  static std::mutex mutex;
  static const Cudnn* opened = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (opened != nullptr) return opened;
  std::string found, searched;
  for (const std::string& candidate : folders(folder)) {
    Cudnn cudnn;
    if (open_in(candidate, &cudnn, &found)) {
      opened = new Cudnn(std::move(cudnn));
      return opened;
    }
    searched += (searched.empty() ? "" : ", ") + (candidate.empty() ? "the loader's path" : candidate);
  }
  return error(
      Code::kDeviceUnavailable, "cuDNN 9 (", kMain, ") was not found; looked in ", searched, found,
      ". Get it by `pip install nvidia-cudnn-cu13`, or from NVIDIA's package repository as libcudnn9-cuda-13, ",
      "and name its folder in DEEPLAB_CUDNN or in the option `cudnn`");
}

}  // namespace deeplab::cuda

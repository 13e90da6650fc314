// What a device implements. A Backend loads a Graph's weights once into a Network; a Network compiles itself for an
// image size into an Executable; an Executable runs from uint8 pixels to labels. Whoever runs it (native/session) knows
// neither the device nor the network.
//
// A Network and its Executables are used by one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "core/status.h"
#include "core/tensor.h"
#include "crf/parameters.h"
#include "graph/graph.h"

namespace deeplab {

enum class Precision { kF32, kBF16 };

const char* precision_name(Precision precision);

struct NetworkOptions {
  Precision precision = Precision::kF32;
  int threads = 1;       // CPU threads of one run
  bool winograd = true;  // Winograd convolution where it is faster, at a relative error of up to 1e-3
};

// Host memory of one run, all owned by the caller, row-major.
struct RunInput {
  const uint8_t* pixels = nullptr;     // [N,H,W,channels]
  const CrfParameters* crf = nullptr;  // refines labels and scores; null: none
};

struct RunOutput {
  uint8_t* labels = nullptr;  // [N,H,W]
  float* scores = nullptr;    // [N,classes,H,W], softmax, or the CRF's marginals; null if not wanted
  float* logits = nullptr;    // [N,classes,h,w], the network's own output; null if not wanted
};

class Executable {
 public:
  virtual ~Executable() = default;
  // `cancelled` is looked at before every layer and CRF iteration; once true, the run ends with ERR_ABORTED.
  virtual Status run(const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled) = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // `image` is [N,channels,H,W].
  virtual Result<std::unique_ptr<Executable>> compile(const Shape& image) = 0;
};

// A fully connected CRF, built for an image. Used by one thread at a time.
class Crf {
 public:
  virtual ~Crf() = default;
  // Memory that its lattices hold, and the vertices of each.
  virtual size_t lattice_bytes() const = 0;
  virtual std::vector<int64_t> vertices() const = 0;
  // Frees the unary's data on the way. `cancelled` is looked at before every iteration.
  virtual Status infer(CrfUnary unary, const CrfInference& inference, const CrfOutput& output,
                       const std::atomic<bool>& cancelled) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // As users write it: "cpu", "cuda:0".
  virtual std::string device() const = 0;
  virtual std::vector<Precision> precisions() const = 0;
  // The one that is fast and accurate on this device.
  virtual Precision auto_precision() const = 0;
  // `graph` has been through optimize().
  virtual Result<std::unique_ptr<Network>> load(const Graph& graph, std::shared_ptr<const Safetensors> weights,
                                                const NetworkOptions& options) = 0;
  // Of an image [1,channels,H,W]; `pixels` are [H,W,channels], null where no kernel is bilateral.
  virtual Result<std::unique_ptr<Crf>> build_crf(const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                                 int threads) = 0;
  // Memory that inference takes besides the lattices, with unary and results, for `points` pixels and lattices of
  // `vertices`.
  virtual size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes,
                                     bool marginals) const = 0;
};

// Why there is no GPU; what `deeplab doctor` says.
std::string gpu_missing_reason();

// The backend for "auto", "cpu", "cuda" or "cuda:N". It lives as long as the process.
Result<Backend*> find_backend(const std::string& device);

}  // namespace deeplab

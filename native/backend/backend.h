// What a device implements. A Backend loads weights once into a Network; a Network compiles a Graph on these weights
// for an image size into an Executable; an Executable runs from uint8 pixels to labels. Whoever runs it
// (native/session) knows neither the device nor the network.
//
// A Network and its Executables are used by one thread at a time. A backend's calls may come from any thread.
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
#include "graph/training.h"

namespace deeplab {

enum class Precision {
  kF32,
  kTF32,  // f32 in memory, products of 10 fraction bits: GPUs from Ampere on
  kBF16,
  kF16,
};

const char* precision_name(Precision precision);

struct NetworkOptions {
  Precision precision = Precision::kF32;
  int threads = 1;       // CPU threads of one run
  bool winograd = true;  // Winograd convolution where it is faster, at a relative error of up to 1e-3
};

// Host memory of one run, all owned by the caller, row-major.
struct RunInput {
  const uint8_t* pixels = nullptr;     // [N,H,W,channels]
  const float* logits = nullptr;       // [N,classes,h,w], of a graph with GivenLogits
  const CrfParameters* crf = nullptr;  // refines labels and scores; null: none
};

struct RunOutput {
  uint8_t* labels = nullptr;  // [N,H,W]; null if not wanted, and then there are no scores either
  float* scores = nullptr;    // [N,classes,H,W], softmax, or the CRF's marginals; null if not wanted
  float* logits = nullptr;    // [N,classes,h,w], the network's own output; null if not wanted
};

// What a device runs for a layer.
struct LayerImplementation {
  std::string layer;
  std::string implementation;  // the library's own name of it, "winograd+...", "loop" or "kernel"
  double milliseconds = 0;     // as timed when it was chosen; 0 where nothing was timed
  bool cached = false;         // that was earlier, and came from the cache on disk
};

// How long a GPU took for the parts of a run, by its own clock; zeros on a CPU.
struct RunTimes {
  double upload_ms = 0;
  double compute_ms = 0;
  double download_ms = 0;
};

// Memory that a network, or an executable by itself, holds now.
struct HeldMemory {
  size_t host_bytes = 0;    // what networks of the same file share counts for each of them
  size_t device_bytes = 0;  // a GPU's

  HeldMemory& operator+=(const HeldMemory& other) {
    host_bytes += other.host_bytes;
    device_bytes += other.device_bytes;
    return *this;
  }
};

class Executable {
 public:
  virtual ~Executable() = default;
  // Starts a run. Where a device computes by itself, it returns while that goes on: `finish` is then due, and `output`
  // written only when that returns; `input` may go. Up to kMaxRuns of a network's runs may be under way, whichever of
  // its executables they are of; they end in the order in which they were started.
  // `cancelled` is looked at before every layer and CRF iteration of a CPU, and at the start of a GPU's run; once true,
  // the run ends with ERR_ABORTED.
  virtual Status start(const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled) = 0;
  // Waits for the run that was started first. Not called for one whose start failed.
  virtual Status finish() = 0;

  Status run(const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled) {
    const Status started = start(input, output, cancelled);
    return started.ok() ? finish() : started;
  }

  // Whether runs go on after `start`, so that it is worth starting the next before `finish`. Where not, a run is over
  // when `start` returns.
  virtual bool overlaps() const { return true; }

  virtual std::vector<LayerImplementation> layers() const = 0;
  // Of the run that was finished last.
  virtual RunTimes times() const { return {}; }
  // Without what it shares with the network's other executables.
  virtual HeldMemory held_memory() const { return {}; }
};

constexpr int kMaxRuns = 2;

class Network {
 public:
  virtual ~Network() = default;
  // `graph` has been through optimize() and names tensors of the network's weights; `image` is [N,channels,H,W]. Runs
  // may be under way: a device that times plans waits for them first. `cancelled` is looked at before every layer; once
  // true, it ends with ERR_ABORTED.
  virtual Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Shape& image,
                                                      const std::atomic<bool>& cancelled) = 0;
  // Weights and activations: all but what executables hold by themselves.
  virtual HeldMemory held_memory() const = 0;
};

// What a parameter has of its own size, all float32, row-major.
enum class ParameterValues { kValue, kMomentum, kGradient };

// Host memory of one training step, owned by the caller, row-major.
struct TrainingBatch {
  const uint8_t* pixels = nullptr;  // [N,H,W,3]
  const uint8_t* labels = nullptr;  // [N,H,W], each a class or the label that is ignored
  float scale = 1;                  // of the gradients
  uint64_t seed = 0;                // of dropout
};

// One step of SGD with momentum: g = gradient + decay * value; momentum = mu * momentum + g; value -= rate * momentum.
struct ParameterUpdate {
  const float* learning_rates = nullptr;  // per parameter, and so are the decays
  const float* weight_decays = nullptr;
  float momentum = 0;
};

// A network that is trained: its parameters with their momentum and gradients, all zero at first. Used by one thread at
// a time.
class Trainer {
 public:
  virtual ~Trainer() = default;
  // Forward and backward: adds the gradients of the loss, times the batch's scale, to those that are there. Sets the
  // loss. `cancelled` is looked at before every operation; a step that was cancelled leaves gradients and running
  // statistics undefined.
  virtual Status accumulate(const TrainingBatch& batch, double* loss, const std::atomic<bool>& cancelled) = 0;
  // Gradients are zero afterwards. Of parameters that are not trained nothing changes.
  virtual Status update(const ParameterUpdate& update) = 0;
  virtual Status read(int parameter, ParameterValues values, float* out) = 0;
  virtual Status write(int parameter, ParameterValues values, const float* data) = 0;
  // The block that the memory plan is of; and all else: parameters, and what is made of them.
  virtual HeldMemory activation_memory() const = 0;
  virtual HeldMemory parameter_memory() const = 0;
  virtual std::vector<LayerImplementation> layers() const = 0;
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
  // The same for training, where f16 may overflow.
  virtual Precision auto_training_precision() const { return auto_precision(); }
  // The folder in which plans that were timed are kept; empty for a device that times nothing.
  virtual std::string plan_cache() const { return ""; }
  // Reads a graph's tensors when it is compiled.
  virtual Result<std::unique_ptr<Network>> load(std::shared_ptr<const Safetensors> weights,
                                                const NetworkOptions& options) = 0;
  // Of the options, threads and precision count.
  virtual Result<std::unique_ptr<Trainer>> create_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                          const NetworkOptions& options,
                                                          const std::atomic<bool>& cancelled) = 0;
  // Of an image [1,channels,H,W]; `pixels` are [H,W,channels], null where no kernel is bilateral. Once `cancelled` is
  // true, it ends with ERR_ABORTED: on a CPU as soon as it can.
  virtual Result<std::unique_ptr<Crf>> build_crf(const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                                 int threads, const std::atomic<bool>& cancelled) = 0;
  // Memory that inference takes besides the lattices, with unary and results, for `points` pixels and lattices of
  // `vertices`.
  virtual size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes,
                                     bool marginals) const = 0;
};

// The backend for "auto" (the first GPU that can compute, else the CPU), "cpu", "cuda" (the first GPU that can compute)
// or "cuda:N". It lives as long as the process. `cudnn` is a folder to look for cuDNN in first; empty: none.
Result<Backend*> find_backend(const std::string& device, const std::string& cudnn = "");

}  // namespace deeplab

// A loaded model at work: its worker loads the network, then segments what is asked, one run after the other; requests
// that fit together share a run. On a GPU, the next run is on its way up while one is computed.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "graph/scales.h"
#include "session/bucket.h"
#include "session/model.h"
#include "session/request.h"
#include "session/worker.h"

namespace deeplab {

struct SessionOptions {
  NetworkRequest network;
  int cache_size = 8;  // executables, of image shapes and modes, that are kept, least recently used first out
  // Of the batches. None: as the device is best used, which on a CPU is one by one.
  std::optional<size_t> max_batch;
  std::chrono::microseconds max_delay{0};
  BucketRule buckets;
};

// Known once the model is loaded, constant from then on.
struct SessionInfo {
  ModelConfig config;
  std::string device;
  Precision precision = Precision::kF32;
  int threads = 1;
  size_t max_batch = 1;
};

class Session {
 public:
  // Starts loading; `loaded` is called once, on the worker's thread.
  Session(SessionOptions options, Worker::Done loaded);

  // These two only after `loaded` was called with success.
  const SessionInfo& info() const { return info_; }
  // Of the network's own output, for a request's image, mode and tiling.
  Result<Shape> logits_shape(const SegmentRequest& request) const;

  // Memory that the model holds in the process and on a GPU: as of the last run, none once it is closed.
  size_t memory_bytes() const { return memory_bytes_; }
  size_t device_bytes() const { return device_bytes_; }

  void submit(SegmentRequest request);
  // To cancel requests by id, close and stop.
  Worker& worker() { return worker_; }

 private:
  class SegmentTask;

  // What an executable is for.
  struct Work {
    Shape image;
    InferenceMode mode;
    Shape given_logits{};  // of a head alone; else empty
    bool operator==(const Work& other) const {
      return image == other.image && mode == other.mode && given_logits == other.given_logits;
    }
  };

  Status load(const std::atomic<bool>& cancelled);
  void note_memory();
  // The size to which a request's image is padded: its own, where the network does not see the image as it is.
  Shape padded(const SegmentRequest& request) const;
  Result<Shape> logits_shape(const Shape& image, const InferenceMode& mode) const;

  // Runs straight from the request's memory to its caller's.
  Started run_alone(const SegmentRequest& request, const std::atomic<bool>& cancelled);
  Started run_batch(const std::vector<SegmentTask*>& tasks, const std::atomic<bool>& cancelled);
  Status run_padded_crf(SegmentTask& task, const std::atomic<bool>& cancelled);
  Status run_tiles(const SegmentRequest& request, const std::atomic<bool>& cancelled);

  Result<std::shared_ptr<Executable>> executable_for(const Work& work, const std::atomic<bool>& cancelled);
  Status run_now(const Work& work, const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled);
  // Starts `work`, after freeing what other image sizes hold if it lacks memory.
  Result<std::shared_ptr<Executable>> start(const Work& work, const RunInput& input, const RunOutput& output,
                                            const std::atomic<bool>& cancelled);

  const SessionOptions options_;
  SessionInfo info_;
  Backend* backend_ = nullptr;
  Graph graph_;
  std::atomic<size_t> memory_bytes_{0};
  std::atomic<size_t> device_bytes_{0};

  // Of the worker's thread alone.
  std::unique_ptr<Network> network_;
  // Most recently used first. A run holds its own, so that it outlives its place here.
  std::list<std::pair<Work, std::shared_ptr<Executable>>> executables_;

  Worker worker_{"the model"};  // last, so that it stops before anything is gone
};

}  // namespace deeplab

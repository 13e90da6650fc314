// A network that is trained: its worker opens the weights file, makes the trainer, and then does one call after the
// other. What to train with, and when, is for the caller to say.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "session/worker.h"

namespace deeplab {

struct TrainingRequest {
  std::string path;  // of the weights file
  std::string device = "auto";
  std::string cudnn;                   // folder to look for cuDNN in first; empty: none
  std::optional<Precision> precision;  // none: the device's best
  int threads = 1;
  Shape images;  // [N,3,H,W]
  TrainingOptions options;
};

class TrainingSession {
 public:
  // Starts loading; `loaded` is called once, on the worker's thread.
  TrainingSession(TrainingRequest request, Worker::Done loaded);

  // These only after `loaded` was called with success; constant from then on.
  const TrainingNetwork& network() const { return *network_; }
  std::string device() const { return backend_->device(); }
  Precision precision() const { return precision_; }
  HeldMemory activation_memory() const { return activation_memory_; }
  HeldMemory parameter_memory() const { return parameter_memory_; }

  // Something to do with the trainer, on the worker's thread.
  using Work = std::function<Status(Trainer& trainer, const std::atomic<bool>& cancelled)>;
  void submit(uint64_t id, Work work, Worker::Done done);

  // To cancel work by id, close and stop.
  Worker& worker() { return worker_; }

 private:
  Status load(const TrainingRequest& request, const std::atomic<bool>& cancelled);

  Backend* backend_ = nullptr;
  Precision precision_ = Precision::kF32;
  HeldMemory activation_memory_, parameter_memory_;
  std::shared_ptr<const TrainingNetwork> network_;
  std::unique_ptr<Trainer> trainer_;  // of the worker's thread alone
  Worker worker_{"the trainer"};      // last, so that it stops before anything is gone
};

}  // namespace deeplab

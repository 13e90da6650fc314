// The fully connected CRF of an image at work: its worker builds the lattices, then infers with one unary after the
// other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "session/worker.h"

namespace deeplab {

struct CrfSessionOptions {
  std::string device = "auto";
  std::string cudnn;            // folder to look for cuDNN in first; empty: none
  Shape image;                  // [1,channels,H,W]
  std::vector<uint8_t> pixels;  // [H,W,channels], empty where no kernel is bilateral
  CrfModel model;
  int threads = 1;
};

struct CrfRequest {
  uint64_t id = 0;
  CrfUnary unary;
  CrfInference inference;
  CrfOutput output;  // must stay valid until `done`
  Worker::Done done;
};

class CrfSession {
 public:
  // Starts building; `built` is called once, on the worker's thread.
  CrfSession(CrfSessionOptions options, Worker::Done built);

  const Shape& image() const { return image_; }
  // These only after `built` was called with success; constant from then on.
  size_t lattice_bytes() const { return lattice_bytes_; }
  // Of these, those in the process's own memory.
  size_t host_bytes() const { return device() == "cpu" ? lattice_bytes_ : 0; }
  const std::vector<int64_t>& vertices() const { return vertices_; }
  std::string device() const { return backend_->device(); }
  size_t inference_bytes(int64_t classes, bool marginals) const;

  void submit(CrfRequest request);
  // To cancel requests by id, close and stop.
  Worker& worker() { return worker_; }

 private:
  const Shape image_;
  Backend* backend_ = nullptr;
  size_t lattice_bytes_ = 0;
  std::vector<int64_t> vertices_;
  std::unique_ptr<Crf> crf_;  // of the worker's thread alone
  Worker worker_{"the CRF"};  // last, so that it stops before anything is gone
};

}  // namespace deeplab

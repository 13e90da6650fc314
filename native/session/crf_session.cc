#include "session/crf_session.h"

namespace deeplab {

CrfSession::CrfSession(CrfSessionOptions options, Worker::Done built) : image_(options.image) {
  auto build = [this, options = std::move(options)](const std::atomic<bool>& cancelled) {
    auto backend = find_backend(options.device, options.cudnn);
    if (!backend.ok()) return backend.status();
    backend_ = *backend;
    const uint8_t* pixels = options.pixels.empty() ? nullptr : options.pixels.data();
    auto crf = backend_->build_crf(options.image, pixels, options.model, options.threads, cancelled);
    if (!crf.ok()) return crf.status();
    crf_ = std::move(*crf);
    lattice_bytes_ = crf_->lattice_bytes();
    vertices_ = crf_->vertices();
    return Status();
  };
  worker_.start(std::move(build), std::move(built), [this] { crf_.reset(); });
}

size_t CrfSession::inference_bytes(int64_t classes, bool marginals) const {
  return backend_->crf_inference_bytes(image_.h * image_.w, vertices_, classes, marginals);
}

void CrfSession::submit(CrfRequest request) {
  // A std::function is copied, a request need not be.
  auto shared = std::make_shared<CrfRequest>(std::move(request));
  const auto infer = [this, shared](const std::atomic<bool>& cancelled) {
    return crf_->infer(std::move(shared->unary), shared->inference, shared->output, cancelled);
  };
  const auto done = [shared](const Status& status, const TaskTimes&) { shared->done(status); };
  worker_.submit(shared->id, Priority::kInteractive, std::make_shared<LoneTask>(infer), done);
}

}  // namespace deeplab

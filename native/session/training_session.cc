#include "session/training_session.h"

#include "core/safetensors.h"
#include "graph/config.h"

namespace deeplab {

TrainingSession::TrainingSession(TrainingRequest request, Worker::Done loaded) {
  auto set_up = [this, request = std::move(request)](const std::atomic<bool>& cancelled) {
    return load(request, cancelled);
  };
  worker_.start(std::move(set_up), std::move(loaded), [this] { trainer_.reset(); });
}

Status TrainingSession::load(const TrainingRequest& request, const std::atomic<bool>& cancelled) {
  auto file = Safetensors::open(request.path);
  if (!file.ok()) return file.status();
  auto config = parse_config((*file)->metadata());
  if (!config.ok()) return error(config.status().code(), request.path, ": ", config.status().message());
  if (request.options.class_weights.size() != config->classes.size()) {
    return error(Code::kInvalidArgument, "expected a weight for each of the ", config->classes.size(),
                 " classes, received ", request.options.class_weights.size());
  }
  auto network = build_training(*config, request.options, request.images);
  if (!network.ok()) return error(network.status().code(), request.path, ": ", network.status().message());
  network_ = std::make_shared<const TrainingNetwork>(std::move(*network));

  auto backend = find_backend(request.device, request.cudnn);
  if (!backend.ok()) return backend.status();
  backend_ = *backend;
  precision_ = request.precision.value_or(backend_->auto_training_precision());
  NetworkOptions options;
  options.precision = precision_;
  options.threads = request.threads;
  auto trainer = backend_->create_trainer(network_, options, cancelled);
  if (!trainer.ok()) return trainer.status();
  for (size_t i = 0; i < network_->parameters.size(); ++i) {
    const Parameter& parameter = network_->parameters[i];
    auto values = (*file)->read_f32(parameter.name, parameter.dims);
    if (!values.ok()) return values.status();
    DEEPLAB_RETURN_IF_ERROR((*trainer)->write(static_cast<int>(i), ParameterValues::kValue, values->data()));
  }
  (*file)->release_pages();
  trainer_ = std::move(*trainer);
  activation_memory_ = trainer_->activation_memory();
  parameter_memory_ = trainer_->parameter_memory();
  return Status();
}

void TrainingSession::submit(uint64_t id, Work work, Worker::Done done) {
  const auto run = [this, work = std::move(work)](const std::atomic<bool>& cancelled) {
    return work(*trainer_, cancelled);
  };
  const auto settle = [done = std::move(done)](const Status& status, const TaskTimes&) { done(status); };
  worker_.submit(id, Priority::kInteractive, std::make_shared<LoneTask>(run), settle);
}

}  // namespace deeplab

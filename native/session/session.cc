#include "session/session.h"

#include <algorithm>
#include <new>

#include "core/threads.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

// The size a network is compiled for while it loads, unless its config fixes one: what papers and benchmarks use.
constexpr int kUsualSide = 513;

Shape usual_image(const ModelConfig& config) {
  if (config.resize == ResizeRule::kFixed) return {1, 3, config.input_height, config.input_width};
  return {1, 3, kUsualSide, kUsualSide};
}

}  // namespace

Session::Session(SessionOptions options, std::function<void(const Status&)> loaded) : options_(std::move(options)) {
  thread_ = std::thread([this, loaded = std::move(loaded)] { thread_main(loaded); });
}

Result<Shape> Session::logits_shape(const Shape& image) const {
  auto shapes = infer_shapes(graph_, image);
  if (!shapes.ok()) return shapes.status();
  for (size_t id = 0; id < graph_.nodes.size(); ++id) {
    if (std::holds_alternative<SegmentationHead>(graph_.nodes[id].op)) return (*shapes)[graph_.nodes[id].inputs[0]];
  }
  return error(Code::kInternal, "the network has no segmentation head");
}

void Session::submit(SegmentRequest request) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!closing_) {
      queue_.push_back(std::move(request));
      changed_.notify_all();
      return;
    }
  }
  request.done(error(Code::kClosed, "the model is closed"));
}

void Session::cancel(uint64_t id) {
  SegmentRequest request;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (running_id_ == id) cancelled_ = true;
    const auto found = std::find_if(queue_.begin(), queue_.end(), [id](const auto& queued) { return queued.id == id; });
    if (found == queue_.end()) return;
    request = std::move(*found);
    queue_.erase(found);
  }
  request.done(error(Code::kAborted, "the request was aborted before it ran"));
}

void Session::close(std::function<void()> closed) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    changed_.notify_all();
    if (!finished_) {
      closed_.push_back(std::move(closed));
      return;
    }
  }
  closed();
}

void Session::stop() {
  std::deque<SegmentRequest> abandoned;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    cancelled_ = true;
    abandoned.swap(queue_);
    changed_.notify_all();
  }
  for (const SegmentRequest& request : abandoned) request.done(error(Code::kClosed, "the model was closed"));
  if (thread_.joinable()) thread_.join();
}

void Session::thread_main(const std::function<void(const Status&)>& loaded) {
  name_this_thread("deeplab");
  Status status;
  try {
    status = load();
  } catch (const std::bad_alloc&) {
    status = error(Code::kOutOfMemory, "loading ", options_.path, " needs more memory than there is");
  }
  loaded(status);
  if (status.ok()) serve();
  executables_.clear();
  network_.reset();
  std::vector<std::function<void()>> closed;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = finished_ = true;
    closed.swap(closed_);
  }
  for (const auto& callback : closed) callback();
}

Status Session::load() {
  auto model = open_model(options_.path);
  if (!model.ok()) return model.status();
  auto backend = find_backend(options_.device);
  if (!backend.ok()) return backend.status();
  NetworkOptions network_options;
  network_options.precision = options_.precision.value_or((*backend)->auto_precision());
  network_options.threads = options_.threads;
  network_options.winograd = options_.winograd;
  info_ = {model->config, (*backend)->device(), network_options.precision, options_.threads};
  graph_ = std::move(model->graph);
  auto network = (*backend)->load(graph_, model->file, network_options);
  if (!network.ok()) return network.status();
  network_ = std::move(*network);
  // Compiling now reads, checks and packs all weights, so that a damaged file fails here and the first request is fast.
  return executable_for(usual_image(info_.config)).status();
}

void Session::serve() {
  while (true) {
    SegmentRequest request;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      request = std::move(queue_.front());
      queue_.pop_front();
      running_id_ = request.id;
      cancelled_ = false;
    }
    const Status status = run(request);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      running_id_ = 0;
    }
    request.done(status);
  }
}

Status Session::run(const SegmentRequest& request) {
  try {
    auto executable = executable_for(request.image);
    if (!executable.ok()) return executable.status();
    return (*executable)->run({request.pixels.data()}, request.output, cancelled_);
  } catch (const std::bad_alloc&) {
    return error(Code::kOutOfMemory, "an image of ", request.image.w, "x", request.image.h,
                 " needs more memory than there is");
  }
}

Result<Executable*> Session::executable_for(const Shape& image) {
  const auto found =
      std::find_if(executables_.begin(), executables_.end(), [&](const auto& entry) { return entry.first == image; });
  if (found != executables_.end()) {
    executables_.splice(executables_.begin(), executables_, found);
  } else {
    auto executable = network_->compile(image);
    if (!executable.ok()) return executable.status();
    executables_.emplace_front(image, std::move(*executable));
    while (executables_.size() > static_cast<size_t>(options_.cache_size)) executables_.pop_back();
  }
  return executables_.front().second.get();
}

}  // namespace deeplab

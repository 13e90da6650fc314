#include "session/session.h"

#include <algorithm>
#include <new>

#include "graph/shapes.h"

namespace deeplab {
namespace {

// The size a network is compiled for while it loads, unless its config fixes one: what papers and benchmarks use.
constexpr int kUsualSide = 513;

static_assert(Worker::kMostUnderWay <= kMaxRuns);

Shape usual_image(const ModelConfig& config) {
  if (config.resize == ResizeRule::kFixed) return {1, 3, config.input_height, config.input_width};
  return {1, 3, kUsualSide, kUsualSide};
}

}  // namespace

Session::Session(SessionOptions options, Worker::Done loaded) : options_(std::move(options)) {
  const auto free_network = [this] {
    executables_.clear();
    network_.reset();
  };
  worker_.start([this] { return load(); }, std::move(loaded), free_network);
}

Result<Shape> Session::logits_shape(const Shape& image) const {
  auto shapes = infer_shapes(graph_, image);
  if (!shapes.ok()) return shapes.status();
  return (*shapes)[logits_of(graph_)];
}

void Session::submit(SegmentRequest request) {
  // A std::function is copied, a request need not be.
  auto shared = std::make_shared<SegmentRequest>(std::move(request));
  worker_.submit(
      shared->id, [this, shared](const std::atomic<bool>& cancelled) { return run(*shared, cancelled); },
      std::move(shared->done));
}

Status Session::load() {
  auto loaded = load_network(options_.network);
  if (!loaded.ok()) return loaded.status();
  info_ = {std::move(loaded->config), loaded->backend->device(), loaded->precision, options_.network.threads};
  graph_ = std::move(loaded->graph);
  network_ = std::move(loaded->network);
  // Compiling now reads, checks and packs all weights, so that a damaged file fails here and the first request is fast.
  return executable_for({usual_image(info_.config), {}}).status();
}

Worker::Started Session::run(const SegmentRequest& request, const std::atomic<bool>& cancelled) {
  try {
    auto found = executable_for({request.image, request.mode});
    if (!found.ok()) return found.status();
    const std::shared_ptr<Executable> executable = *found;
    RunInput input;
    input.pixels = request.pixels.data();
    input.crf = request.crf.has_value() ? &*request.crf : nullptr;
    Status started = executable->start(input, request.output, cancelled);
    // Other image sizes may have the memory that this one lacks.
    if (started.code() == Code::kOutOfMemory && executables_.size() > 1) {
      executables_.resize(1);
      started = executable->start(input, request.output, cancelled);
    }
    if (!started.ok()) return started;
    if (!executable->overlaps()) return executable->finish();
    return [executable] { return executable->finish(); };
  } catch (const std::bad_alloc&) {
    return error(Code::kOutOfMemory, "an image of ", request.image.w, "x", request.image.h,
                 " needs more memory than there is");
  }
}

Result<std::shared_ptr<Executable>> Session::executable_for(const Work& work) {
  const auto found =
      std::find_if(executables_.begin(), executables_.end(), [&](const auto& entry) { return entry.first == work; });
  if (found != executables_.end()) {
    executables_.splice(executables_.begin(), executables_, found);
  } else {
    auto executable = network_->compile(in_mode(graph_, work.mode), work.image);
    if (!executable.ok()) return executable.status();
    executables_.emplace_front(work, std::shared_ptr<Executable>(std::move(*executable)));
    while (executables_.size() > static_cast<size_t>(options_.cache_size)) executables_.pop_back();
  }
  return executables_.front().second;
}

}  // namespace deeplab

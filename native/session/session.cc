#include "session/session.h"

#include <algorithm>
#include <new>

#include "core/memory.h"
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

void copy_tile(const uint8_t* pixels, const Shape& image, int64_t top, int64_t left, const Shape& tile,
               std::vector<uint8_t>* out) {
  out->resize(tile.elements());
  const int64_t row = tile.w * tile.c;
  for (int64_t y = 0; y < tile.h; ++y) {
    std::copy_n(pixels + ((top + y) * image.w + left) * image.c, row, out->data() + y * row);
  }
}

}  // namespace

Session::Session(SessionOptions options, Worker::Done loaded) : options_(std::move(options)) {
  const auto free_network = [this] {
    executables_.clear();
    network_.reset();
    memory_bytes_ = device_bytes_ = 0;
  };
  worker_.start([this](const std::atomic<bool>& cancelled) { return load(cancelled); }, std::move(loaded),
                free_network);
}

Result<Shape> Session::logits_shape(const Shape& image, const InferenceMode& mode) const {
  const Graph graph = in_mode(graph_, mode);
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  return (*shapes)[logits_of(graph)];
}

void Session::submit(SegmentRequest request) {
  // A std::function is copied, a request need not be.
  auto shared = std::make_shared<SegmentRequest>(std::move(request));
  const auto job = [this, shared](const std::atomic<bool>& cancelled) {
    Worker::Started started = run(*shared, cancelled);
    note_memory();
    return started;
  };
  worker_.submit(shared->id, job, std::move(shared->done));
}

Status Session::load(const std::atomic<bool>& cancelled) {
  auto loaded = load_network(options_.network);
  if (!loaded.ok()) return loaded.status();
  info_ = {std::move(loaded->config), loaded->backend->device(), loaded->precision, options_.network.threads};
  graph_ = std::move(loaded->graph);
  network_ = std::move(loaded->network);
  // Compiling now reads, checks and packs all weights, so that a damaged file fails here and the first request is fast.
  DEEPLAB_RETURN_IF_ERROR(executable_for({usual_image(info_.config), {}}, cancelled).status());
  note_memory();
  return Status();
}

void Session::note_memory() {
  HeldMemory held = network_->held_memory();
  for (const auto& [work, executable] : executables_) held += executable->held_memory();
  memory_bytes_ = held.host_bytes;
  device_bytes_ = held.device_bytes;
}

Worker::Started Session::run(const SegmentRequest& request, const std::atomic<bool>& cancelled) {
  try {
    if (request.tiling.has_value()) return run_tiles(request, cancelled);
    RunInput input;
    input.pixels = request.pixels.data();
    input.crf = request.crf.has_value() ? &*request.crf : nullptr;
    auto started = start({request.image, request.mode}, input, request.output, cancelled);
    if (!started.ok()) return started.status();
    if (!(*started)->overlaps()) return (*started)->finish();
    return [executable = *started] { return executable->finish(); };
  } catch (const std::bad_alloc&) {
    return error(Code::kOutOfMemory, "an image of ", request.image.w, "x", request.image.h,
                 " needs more memory than there is");
  }
}

Status Session::run_tiles(const SegmentRequest& request, const std::atomic<bool>& cancelled) {
  const Shape& image = request.image;
  const int stride = info_.config.output_stride;
  auto whole = logits_shape(image, request.mode);
  if (!whole.ok()) return whole.status();
  DEEPLAB_RETURN_IF_ERROR(check_memory(whole->elements() * sizeof(float), "the logits of the whole image"));
  const std::vector<TileSpan> rows = tile_spans(image.h, *request.tiling, stride);
  const std::vector<TileSpan> columns = tile_spans(image.w, *request.tiling, stride);
  TileBlender blender(*whole, rows, columns, stride);

  std::vector<uint8_t> pixels;
  std::vector<float> logits;
  for (size_t row = 0; row < rows.size(); ++row) {
    for (size_t column = 0; column < columns.size(); ++column) {
      const Shape tile{1, image.c, rows[row].size, columns[column].size};
      auto shape = logits_shape(tile, request.mode);
      if (!shape.ok()) return shape.status();
      copy_tile(request.pixels.data(), image, rows[row].start, columns[column].start, tile, &pixels);
      logits.resize(shape->elements());
      RunInput input;
      input.pixels = pixels.data();
      RunOutput output;
      output.logits = logits.data();
      DEEPLAB_RETURN_IF_ERROR(run_now({tile, request.mode}, input, output, cancelled));
      blender.add(row, column, logits.data(), shape->h, shape->w);
    }
  }

  RunInput input;
  input.pixels = request.pixels.data();
  input.logits = blender.logits();
  input.crf = request.crf.has_value() ? &*request.crf : nullptr;
  return run_now({image, request.mode, *whole}, input, request.output, cancelled);
}

Result<std::shared_ptr<Executable>> Session::start(const Work& work, const RunInput& input, const RunOutput& output,
                                                   const std::atomic<bool>& cancelled) {
  auto executable = executable_for(work, cancelled);
  if (!executable.ok()) return executable.status();
  Status started = (*executable)->start(input, output, cancelled);
  if (started.code() == Code::kOutOfMemory && executables_.size() > 1) {
    executables_.resize(1);
    started = (*executable)->start(input, output, cancelled);
  }
  if (!started.ok()) return started;
  return executable;
}

Status Session::run_now(const Work& work, const RunInput& input, const RunOutput& output,
                        const std::atomic<bool>& cancelled) {
  auto started = start(work, input, output, cancelled);
  return started.ok() ? (*started)->finish() : started.status();
}

Result<std::shared_ptr<Executable>> Session::executable_for(const Work& work, const std::atomic<bool>& cancelled) {
  const auto found =
      std::find_if(executables_.begin(), executables_.end(), [&](const auto& entry) { return entry.first == work; });
  if (found != executables_.end()) {
    executables_.splice(executables_.begin(), executables_, found);
  } else {
    Graph graph = in_mode(graph_, work.mode);
    const Shape& given = work.given_logits;
    if (given.elements() > 0) graph = head_only(graph, given.c, given.h, given.w);
    auto executable = network_->compile(graph, work.image, cancelled);
    if (!executable.ok()) return executable.status();
    executables_.emplace_front(work, std::shared_ptr<Executable>(std::move(*executable)));
    while (executables_.size() > static_cast<size_t>(options_.cache_size)) executables_.pop_back();
  }
  return executables_.front().second;
}

}  // namespace deeplab

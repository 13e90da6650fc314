#include "session/session.h"

#include <algorithm>
#include <new>

#include "core/memory.h"
#include "graph/shapes.h"
#include "session/batch.h"

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

// What a GPU computes at once unless told otherwise. A CPU gains nothing from batches of images that are not tiny.
constexpr size_t kGpuBatch = 8;

bool same_crf(const std::optional<CrfParameters>& a, const std::optional<CrfParameters>& b) {
  if (!a.has_value() || !b.has_value()) return a.has_value() == b.has_value();
  return a->model == b->model && a->inference == b->inference;
}

}  // namespace

// A request in the worker's queue.
class Session::SegmentTask : public Task {
 public:
  SegmentTask(Session& session, SegmentRequest request)
      : request(std::move(request)), size(session.padded(this->request)), session_(session) {}

  Started start(const std::vector<Task*>& riders, const std::atomic<bool>& cancelled) override {
    Started started = start_run(riders, cancelled);
    session_.note_memory();
    return started;
  }

  bool takes(const Task& other) const override {
    const auto& theirs = static_cast<const SegmentTask&>(other);
    return rides() && theirs.rides() && size == theirs.size && request.mode == theirs.request.mode &&
           (request.output.scores == nullptr) == (theirs.request.output.scores == nullptr) &&
           (request.output.logits == nullptr) == (theirs.request.output.logits == nullptr) &&
           same_crf(request.crf, theirs.request.crf);
  }

  Status deliver() override {
    if (batch != nullptr) batch->deliver(place, request.image, request.output);
    return outcome;
  }

  const SegmentRequest request;
  const Shape size;  // of the image, padded
  // Where a batch has computed it.
  std::shared_ptr<const Batch> batch;
  size_t place = 0;
  Status outcome;  // of this request, in a run that succeeded

 private:
  bool crf_after_padding() const { return request.crf.has_value() && size != request.image; }
  bool rides() const { return !request.tiling.has_value() && !crf_after_padding(); }

  Started start_run(const std::vector<Task*>& riders, const std::atomic<bool>& cancelled) {
    try {
      if (request.tiling.has_value()) return session_.run_tiles(request, cancelled);
      if (crf_after_padding()) return session_.run_padded_crf(*this, cancelled);
      if (riders.empty() && size == request.image) return session_.run_alone(request, cancelled);
      std::vector<SegmentTask*> tasks{this};
      for (Task* rider : riders) tasks.push_back(static_cast<SegmentTask*>(rider));
      return session_.run_batch(tasks, cancelled);
    } catch (const std::bad_alloc&) {
      return error(Code::kOutOfMemory, "an image of ", request.image.w, "x", request.image.h,
                   " needs more memory than there is");
    }
  }

  Session& session_;
};

Session::Session(SessionOptions options, Worker::Done loaded) : options_(std::move(options)) {
  const auto free_network = [this] {
    executables_.clear();
    network_.reset();
    memory_bytes_ = device_bytes_ = 0;
  };
  worker_.start([this](const std::atomic<bool>& cancelled) { return load(cancelled); }, std::move(loaded),
                free_network);
}

Shape Session::padded(const SegmentRequest& request) const {
  const ResizeRule rule = request.mode.input.has_value() ? request.mode.input->resize : info_.config.resize;
  const bool as_it_is = rule == ResizeRule::kNone && !request.tiling.has_value();
  return as_it_is ? bucket_of(options_.buckets, request.image) : request.image;
}

Result<Shape> Session::logits_shape(const SegmentRequest& request) const {
  return logits_shape(padded(request), request.mode);
}

Result<Shape> Session::logits_shape(const Shape& image, const InferenceMode& mode) const {
  const Graph graph = in_mode(graph_, mode);
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  return (*shapes)[logits_of(graph)];
}

void Session::submit(SegmentRequest request) {
  const uint64_t id = request.id;
  const Priority priority = request.priority;
  Worker::TaskDone done = std::move(request.done);
  worker_.submit(id, priority, std::make_shared<SegmentTask>(*this, std::move(request)), std::move(done));
}

Status Session::load(const std::atomic<bool>& cancelled) {
  auto loaded = load_network(options_.network);
  if (!loaded.ok()) return loaded.status();
  backend_ = loaded->backend;
  info_ = {std::move(loaded->config), backend_->device(), loaded->precision, options_.network.threads,
           options_.max_batch.value_or(backend_->device() == "cpu" ? 1 : kGpuBatch)};
  worker_.set_policy({info_.max_batch, options_.max_delay});
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

Started Session::run_alone(const SegmentRequest& request, const std::atomic<bool>& cancelled) {
  RunInput input;
  input.pixels = request.pixels.data();
  input.crf = request.crf.has_value() ? &*request.crf : nullptr;
  auto started = start({request.image, request.mode}, input, request.output, cancelled);
  if (!started.ok()) return started.status();
  if (!(*started)->overlaps()) return (*started)->finish();
  return [executable = *started] { return executable->finish(); };
}

Started Session::run_batch(const std::vector<SegmentTask*>& tasks, const std::atomic<bool>& cancelled) {
  const SegmentRequest& leader = tasks.front()->request;
  const Shape& size = tasks.front()->size;
  auto logits = logits_shape(size, leader.mode);
  if (!logits.ok()) return logits.status();
  std::vector<const SegmentRequest*> requests;
  for (const SegmentTask* task : tasks) requests.push_back(&task->request);
  const Batch::Extras extras{leader.output.scores != nullptr, leader.output.logits != nullptr};
  auto batch = Batch::create(requests, size, *logits, extras, info_.config);
  auto started = [&]() -> Result<std::shared_ptr<Executable>> {
    if (!batch.ok()) return batch.status();
    RunInput input = (*batch)->input();
    input.crf = leader.crf.has_value() ? &*leader.crf : nullptr;
    return start({(*batch)->images(), leader.mode}, input, (*batch)->output(), cancelled);
  }();
  if (started.status().code() == Code::kOutOfMemory && tasks.size() > 1) {
    // There may be enough for one at a time.
    for (SegmentTask* task : tasks) {
      Started alone = run_batch({task}, cancelled);
      if (const Finish* finish = std::get_if<Finish>(&alone)) alone = (*finish)();
      task->outcome = std::get<Status>(alone);
      if (!task->outcome.ok()) task->batch = nullptr;
      if (cancelled) return task->outcome;
    }
    return Status();
  }
  if (!started.ok()) return started.status();
  for (size_t i = 0; i < tasks.size(); ++i) {
    tasks[i]->batch = *batch;
    tasks[i]->place = i;
  }
  if (!(*started)->overlaps()) return (*started)->finish();
  return [executable = *started] { return executable->finish(); };
}

// The network on the padded image, then the CRF on the image itself: the padding is no part of the picture.
Status Session::run_padded_crf(SegmentTask& task, const std::atomic<bool>& cancelled) {
  const SegmentRequest& request = task.request;
  auto logits = logits_shape(task.size, request.mode);
  if (!logits.ok()) return logits.status();
  auto batch = Batch::create({&request}, task.size, *logits, {true, request.output.logits != nullptr}, info_.config);
  if (!batch.ok()) return batch.status();
  DEEPLAB_RETURN_IF_ERROR(
      run_now({(*batch)->images(), request.mode}, (*batch)->input(), (*batch)->output(), cancelled));

  CrfUnary unary;
  unary.kind = CrfUnary::Kind::kProbabilities;
  unary.classes = static_cast<int>(logits->c);
  const size_t values = logits->c * request.image.h * request.image.w;
  DEEPLAB_RETURN_IF_ERROR(check_memory(values * sizeof(float), "the CRF's unary potentials"));
  DEEPLAB_RETURN_IF_ERROR(unary.values.allocate(values));
  (*batch)->deliver(0, request.image, {nullptr, unary.values.data(), request.output.logits});
  auto crf = backend_->build_crf(request.image, request.pixels.data(), request.crf->model, info_.threads, cancelled);
  if (!crf.ok()) return crf.status();
  return (*crf)->infer(std::move(unary), request.crf->inference,
                       {request.output.labels, request.output.scores, nullptr}, cancelled);
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

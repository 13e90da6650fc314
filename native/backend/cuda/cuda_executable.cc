#include "backend/cuda/cuda_executable.h"

#include <cstring>
#include <optional>

#include "backend/cuda/dense_crf.h"
#include "core/memory.h"

namespace deeplab::cuda {
namespace {

// What a run is to give. Runs that want the same are the same work, and are replayed as one graph.
struct Wanted {
  bool labels = false;
  bool scores = false;
  bool logits = false;
  bool crf = false;
  CrfInference inference;  // of the CRF

  bool operator==(const Wanted& other) const {
    return labels == other.labels && scores == other.scores && logits == other.logits && crf == other.crf &&
           inference.iterations == other.inference.iterations && inference.tolerance == other.inference.tolerance;
  }
  // Whether the host looks at what the device does while it does it.
  bool is_watched() const { return crf && inference.tolerance > 0; }
};

// Of an executable; the oldest goes.
constexpr size_t kMostRecordings = 4;

// Where the pixels of a run, at its begin, and the logits that it is given lie in one block of memory.
struct InputLayout {
  size_t pixel_bytes = 0;
  size_t given = 0;
  size_t given_bytes = 0;

  size_t bytes() const { return given_bytes == 0 ? pixel_bytes : given + given_bytes; }
};

// Where its results do.
struct ResultLayout {
  size_t scores = 0;
  size_t logits = 0;
  size_t bytes = 0;
};

class CudaExecutable : public Executable {
 public:
  CudaExecutable(CompiledNetwork network, const Shape& image, std::shared_ptr<NetworkDevice> device)
      : network_(std::move(network)), image_(image), device_(std::move(device)) {}

  // Memory goes when nobody uses it any more.
  ~CudaExecutable() override {
    if (!select_device(device_->index).ok()) return;
    for (const OwnedStream* stream : {&device_->upload, &device_->compute, &device_->download}) {
      static_cast<void>(synchronize(stream->get()));
    }
  }

  Status start(const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled) override {
    if (!device_->broken.ok()) return device_->broken;
    if (cancelled.load(std::memory_order_relaxed)) return error(Code::kAborted, "the inference was aborted");
    DEEPLAB_RETURN_IF_ERROR(select_device(device_->index));
    const Status started = start_run(input, output);
    if (started.ok()) {
      ++started_;
      return Status();
    }
    // Some of it may be under way, in memory that the next run will use.
    static_cast<void>(synchronize(device_->upload.get()));
    static_cast<void>(synchronize(device_->compute.get()));
    return note(started);
  }

  Status finish() override {
    DEEPLAB_RETURN_IF_ERROR(select_device(device_->index));
    Run& run = runs_[finished_++ % kMaxRuns];
    return note(finish_run(run));
  }

  std::vector<LayerImplementation> layers() const override {
    std::vector<LayerImplementation> layers;
    for (size_t i = 0; i < network_.steps.size(); ++i) {
      const Step& step = network_.steps[i];
      layers.push_back({network_.names[i], step.implementation, step.milliseconds, step.cached});
    }
    return layers;
  }

  RunTimes times() const override { return times_; }

  HeldMemory held_memory() const override {
    HeldMemory held{0, input_.size() + results_.size() + unary_.size() + (crf_ == nullptr ? 0 : crf_->bytes())};
    for (const Run& run : runs_) {
      held += {run.host_input.size() + run.host_results.size(), run.input.size() + run.results.size()};
    }
    return held;
  }

 private:
  // A run under way: its copies are its own, so that they can be made while another one computes.
  struct Run {
    PinnedBuffer host_input, host_results;
    DeviceBuffer input, results;
    Event upload_begin, uploaded, compute_begin, computed, downloaded;
    bool has_events = false;
    Wanted wanted;
    RunOutput output;
    int crf_version = 0;
    bool settled = false;  // whether its CRF is known to have had room
  };

  // The kernels of a run, recorded for memory as it was then.
  struct Recording {
    Wanted wanted;
    int arena_changes = 0;
    int crf_version = 0;
    bool recorded = false;
    CapturedGraph graph;
  };

  Status note(const Status& status) {
    if (status.code() == Code::kDeviceFailed) device_->broken = status;
    return status;
  }

  int64_t area() const { return image_.h * image_.w; }
  int64_t classes() const { return network_.head->classes(); }

  InputLayout input_layout(const Wanted& wanted) const {
    InputLayout layout;
    layout.pixel_bytes = network_.reads_pixels || wanted.crf ? image_.elements() : 0;
    layout.given = round_up(layout.pixel_bytes, kPlanAlignment);
    layout.given_bytes = network_.given_logits * sizeof(float);
    return layout;
  }

  ResultLayout layout(const Wanted& wanted) const {
    ResultLayout layout;
    layout.scores = wanted.labels ? round_up(image_.n * area(), kPlanAlignment) : 0;
    layout.logits = layout.scores + (wanted.scores ? image_.n * classes() * area() * sizeof(float) : 0);
    layout.bytes = layout.logits + (wanted.logits ? network_.head->logits_elements() * sizeof(float) : 0);
    return layout;
  }

  Status start_run(const RunInput& input, const RunOutput& output) {
    if (network_.given_logits > 0 && input.logits == nullptr) {
      return error(Code::kInternal, "a run that needs logits was given none");
    }
    Run& run = runs_[started_ % kMaxRuns];
    run.wanted = {output.labels != nullptr, output.scores != nullptr, output.logits != nullptr, input.crf != nullptr,
                  input.crf == nullptr ? CrfInference() : input.crf->inference};
    run.output = output;
    run.settled = false;
    DEEPLAB_RETURN_IF_ERROR(allocate(run));
    if (input.crf != nullptr) DEEPLAB_RETURN_IF_ERROR(prepare_crf(*input.crf));

    const Stream upload = device_->upload.get(), compute = device_->compute.get();
    const InputLayout inputs = input_layout(run.wanted);
    if (inputs.pixel_bytes > 0) std::memcpy(run.host_input.data(), input.pixels, inputs.pixel_bytes);
    if (inputs.given_bytes > 0) std::memcpy(run.host_input.data() + inputs.given, input.logits, inputs.given_bytes);
    DEEPLAB_RETURN_IF_ERROR(run.upload_begin.record(upload));
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(upload, run.input.data(), run.host_input.data(), inputs.bytes()));
    DEEPLAB_RETURN_IF_ERROR(run.uploaded.record(upload));
    DEEPLAB_RETURN_IF_ERROR(run.uploaded.hold(compute));
    return compute_and_download(run);
  }

  Status compute_and_download(Run& run) {
    const Stream compute = device_->compute.get(), download = device_->download.get();
    const size_t bytes = layout(run.wanted).bytes;
    run.crf_version = crf_version_;
    DEEPLAB_RETURN_IF_ERROR(run.compute_begin.record(compute));
    DEEPLAB_RETURN_IF_ERROR(copy_on_device(compute, input_.data(), run.input.data(), input_layout(run.wanted).bytes()));
    DEEPLAB_RETURN_IF_ERROR(replay(run.wanted));
    DEEPLAB_RETURN_IF_ERROR(copy_on_device(compute, run.results.data(), results_.data(), bytes));
    DEEPLAB_RETURN_IF_ERROR(run.computed.record(compute));
    DEEPLAB_RETURN_IF_ERROR(run.computed.hold(download));
    DEEPLAB_RETURN_IF_ERROR(copy_to_host(download, run.host_results.data(), run.results.data(), bytes));
    return run.downloaded.record(download);
  }

  Status finish_run(Run& run) {
    DEEPLAB_RETURN_IF_ERROR(settle(run));
    times_ = {run.upload_begin.milliseconds_until(run.uploaded), run.compute_begin.milliseconds_until(run.computed),
              run.computed.milliseconds_until(run.downloaded)};
    const ResultLayout results = layout(run.wanted);
    const std::byte* from = run.host_results.data();
    if (run.wanted.labels) std::memcpy(run.output.labels, from, image_.n * area());
    if (run.wanted.scores) std::memcpy(run.output.scores, from + results.scores, results.logits - results.scores);
    if (run.wanted.logits) std::memcpy(run.output.logits, from + results.logits, results.bytes - results.logits);
    return Status();
  }

  // Waits for a run. If its CRF's lattices had no room for their vertices, there is room now, and it is done again; so
  // is one that was started before that was known.
  Status settle(Run& run) {
    DEEPLAB_RETURN_IF_ERROR(run.downloaded.synchronize());
    while (run.wanted.crf && !run.settled) {
      if (crf_ == nullptr) return error(Code::kOutOfMemory, "the CRF of an image needs more GPU memory than there is");
      auto had_room = crf_->settle(device_->compute.get());
      if (!had_room.ok()) {
        crf_.reset();  // of no use any more; the next run makes another
        return had_room.status();
      }
      if (!*had_room) ++crf_version_;
      run.settled = run.crf_version == crf_version_;
      if (run.settled) break;
      DEEPLAB_RETURN_IF_ERROR(compute_and_download(run));
      DEEPLAB_RETURN_IF_ERROR(run.downloaded.synchronize());
    }
    return Status();
  }

  Status allocate(Run& run) {
    const size_t inputs = input_layout(run.wanted).bytes(), results = layout(run.wanted).bytes;
    if (!run.has_events) {
      for (Event* event : {&run.upload_begin, &run.uploaded, &run.compute_begin, &run.computed, &run.downloaded}) {
        DEEPLAB_RETURN_IF_ERROR(event->create());
      }
      run.has_events = true;
    }
    DEEPLAB_RETURN_IF_ERROR(run.host_input.reserve(inputs, "the image"));
    DEEPLAB_RETURN_IF_ERROR(run.host_results.reserve(results, "the result"));
    DEEPLAB_RETURN_IF_ERROR(run.input.reserve(inputs, "the image"));
    DEEPLAB_RETURN_IF_ERROR(run.results.reserve(results, "the result"));
    // What follows is shared with the run before, which may be under way.
    if (input_.size() < inputs || results_.size() < results || device_->arena.size() < network_.memory.bytes) {
      DEEPLAB_RETURN_IF_ERROR(synchronize(device_->compute.get()));
      recordings_.clear();
      DEEPLAB_RETURN_IF_ERROR(input_.reserve(inputs, "the image"));
      DEEPLAB_RETURN_IF_ERROR(results_.reserve(results, "the result"));
      if (device_->arena.size() < network_.memory.bytes) {
        ++device_->arena_changes;
        DEEPLAB_RETURN_IF_ERROR(device_->arena.allocate(network_.memory.bytes, "the network at this image size"));
      }
    }
    return Status();
  }

  Status prepare_crf(const CrfParameters& parameters) {
    const bool with_tolerance = parameters.inference.tolerance > 0;
    if (crf_ != nullptr && *crf_model_ == parameters.model && crf_has_tolerance_ == with_tolerance) return Status();
    for (int64_t i = finished_; i < started_; ++i) DEEPLAB_RETURN_IF_ERROR(settle(runs_[i % kMaxRuns]));
    crf_.reset();
    ++crf_version_;
    DEEPLAB_RETURN_IF_ERROR(
        unary_.reserve(area() * row_stride(classes()) * sizeof(float), "the CRF's unary potentials"));
    const Shape one{1, image_.c, image_.h, image_.w};
    auto crf =
        DenseCrf::create(device_->compute.get(), one, parameters.model, static_cast<int>(classes()), with_tolerance);
    if (!crf.ok()) return crf.status();
    crf_ = std::move(*crf);
    crf_model_ = parameters.model;
    crf_has_tolerance_ = with_tolerance;
    return Status();
  }

  // The first time kernels are started one by one, which loads them; the second time they are recorded.
  Status replay(const Wanted& wanted) {
    if (!CapturedGraph::is_supported() || wanted.is_watched()) return compute(wanted);
    Recording* recording = find_recording(wanted);
    if (recording == nullptr) {
      DEEPLAB_RETURN_IF_ERROR(compute(wanted));
      if (recordings_.size() == kMostRecordings) drop_recording(0);
      recordings_.push_back(std::make_unique<Recording>());
      recordings_.back()->wanted = wanted;
      recordings_.back()->arena_changes = device_->arena_changes;
      recordings_.back()->crf_version = crf_version_;
      return Status();
    }
    const Stream stream = device_->compute.get();
    if (!recording->recorded) {
      DEEPLAB_RETURN_IF_ERROR(CapturedGraph::begin(stream));
      const Status computed = compute(wanted);
      DEEPLAB_RETURN_IF_ERROR(recording->graph.end(stream));
      DEEPLAB_RETURN_IF_ERROR(computed);
      recording->recorded = true;
    }
    return recording->graph.launch(stream);
  }

  // Null if there is none that is still good; drops those that are not.
  Recording* find_recording(const Wanted& wanted) {
    for (size_t i = 0; i < recordings_.size(); ++i) {
      const Recording& known = *recordings_[i];
      if (!(known.wanted == wanted)) continue;
      if (known.arena_changes == device_->arena_changes && (!wanted.crf || known.crf_version == crf_version_)) {
        return recordings_[i].get();
      }
      drop_recording(i);
      break;
    }
    return nullptr;
  }

  // It may be under way.
  void drop_recording(size_t i) {
    static_cast<void>(synchronize(device_->compute.get()));
    recordings_.erase(recordings_.begin() + static_cast<ptrdiff_t>(i));
  }

  // From input_ to results_.
  Status compute(const Wanted& wanted) {
    const Stream stream = device_->compute.get();
    const auto* pixels = input_.as<const uint8_t>();
    const auto* given = reinterpret_cast<const float*>(input_.data() + input_layout(wanted).given);
    const StepContext context{stream, device_->arena.data(), pixels, given};
    for (size_t i = 0; i < network_.steps.size(); ++i) {
      if (network_.steps[i].run) DEEPLAB_RETURN_IF_ERROR(network_.steps[i].run(context, network_.memory.steps[i]));
    }
    const SegmentationHead& head = *network_.head;
    const auto* logits = context.at<const float>(network_.logits_offset);
    const ResultLayout results = layout(wanted);
    auto* labels = results_.as<uint8_t>();
    auto* scores = reinterpret_cast<float*>(results_.data() + results.scores);
    if (wanted.logits) {
      DEEPLAB_RETURN_IF_ERROR(
          head.write_logits(stream, logits, reinterpret_cast<float*>(results_.data() + results.logits)));
    }
    if (!wanted.labels) return Status();
    if (!wanted.crf) {
      DEEPLAB_RETURN_IF_ERROR(head.write_labels(stream, logits, labels));
      return wanted.scores ? head.write_scores(stream, logits, scores) : Status();
    }
    for (int64_t n = 0; n < image_.n; ++n) {
      DEEPLAB_RETURN_IF_ERROR(head.write_unary(stream, logits, n, unary_.as<float>()));
      DEEPLAB_RETURN_IF_ERROR(crf_->build(stream, pixels + n * area() * image_.c));
      DEEPLAB_RETURN_IF_ERROR(crf_->infer(stream, unary_.as<float>(), wanted.inference, labels + n * area(),
                                          wanted.scores ? scores + n * classes() * area() : nullptr));
    }
    return Status();
  }

  const CompiledNetwork network_;
  const Shape image_;
  const std::shared_ptr<NetworkDevice> device_;

  // Of the run that computes.
  DeviceBuffer input_, results_, unary_;
  std::unique_ptr<DenseCrf> crf_;
  std::optional<CrfModel> crf_model_;
  bool crf_has_tolerance_ = false;
  int crf_version_ = 0;  // of crf_ and its memory
  std::vector<std::unique_ptr<Recording>> recordings_;

  // In the order in which they were started.
  Run runs_[kMaxRuns];
  int64_t started_ = 0;
  int64_t finished_ = 0;
  RunTimes times_;
};

}  // namespace

std::unique_ptr<Executable> make_executable(CompiledNetwork network, const Shape& image,
                                            std::shared_ptr<NetworkDevice> device) {
  return std::make_unique<CudaExecutable>(std::move(network), image, std::move(device));
}

}  // namespace deeplab::cuda

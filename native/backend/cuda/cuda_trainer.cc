#include "backend/cuda/cuda_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cuda/training_step.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "training at this size of crops and batch";

// One overload for each operation.
struct CompileTrainingStep {
  const TrainingCompiler& compiler;
  const NodeId id;
  const TrainingNode& node;

  Result<TrainingStep> operator()(const Normalize& op) const { return compile_training_normalize(compiler, op); }
  Result<TrainingStep> operator()(const Conv2d& op) const { return compile_training_convolution(compiler, node, op); }
  Result<TrainingStep> operator()(const BatchNormUnit& op) const { return compile_batch_norm_unit(compiler, node, op); }
  Result<TrainingStep> operator()(const Activate& op) const { return compile_activate(compiler, node, op); }
  Result<TrainingStep> operator()(const Add&) const {
    return compile_add(compiler, node, is_logits(compiler.network, id));
  }
  Result<TrainingStep> operator()(const MaxPool& op) const { return compile_training_max_pool(compiler, node, op); }
  Result<TrainingStep> operator()(const AveragePool& op) const {
    return compile_training_average_pool(compiler, node, op);
  }
  Result<TrainingStep> operator()(const GlobalAveragePool&) const { return compile_training_average(compiler, node); }
  Result<TrainingStep> operator()(const Concat&) const { return compile_training_concat(compiler, node); }
  Result<TrainingStep> operator()(const Dropout& op) const { return compile_dropout(compiler, node, id, op); }
  Result<TrainingStep> operator()(const CrossEntropy& op) const { return compile_cross_entropy(compiler, node, op); }
};

// Of a node's output; and of its gradient, which of logits is in the precision's elements.
size_t output_bytes(const TrainingCompiler& compiler, NodeId id) {
  const TrainingNode& node = compiler.network.nodes[id];
  if (std::holds_alternative<CrossEntropy>(node.op)) return 0;
  const size_t bytes = pixels_of(node.output) * stored_channels(compiler.network, id, compiler.precision()) *
                       element_bytes(compiler.precision());
  if (!is_logits(compiler.network, id)) return bytes;
  return std::max(bytes, node.output.elements() * sizeof(float));
}

// The sum of the weights of what counts in the loss, for one batch of labels.
class LossWeight {
 public:
  explicit LossWeight(const TrainingNetwork& network) : options_(network.options), images_(network.images) {
    if (options_.loss != LossGrid::kLogits) return;
    const TrainingNode& loss = network.nodes.back();
    const Shape& grid = network.nodes[loss.inputs[0]].output;
    const Upsample upsample = std::get<CrossEntropy>(loss.op).config.upsample;
    for (int64_t y = 0; y < grid.h; ++y) rows_.push_back(cell_pixel(upsample, y, grid.h, images_.h));
    for (int64_t x = 0; x < grid.w; ++x) columns_.push_back(cell_pixel(upsample, x, grid.w, images_.w));
  }

  double of(const uint8_t* labels) const {
    int64_t counts[256] = {};
    for (int64_t n = 0; n < images_.n; ++n, labels += images_.h * images_.w) {
      if (rows_.empty()) {
        for (int64_t i = 0; i < images_.h * images_.w; ++i) ++counts[labels[i]];
      }
      for (const int64_t row : rows_) {
        for (const int64_t column : columns_) ++counts[labels[row * images_.w + column]];
      }
    }
    double sum = 0;
    for (size_t c = 0; c < options_.class_weights.size(); ++c) {
      if (static_cast<int>(c) == options_.ignore_label) continue;
      sum += static_cast<double>(counts[c]) * options_.class_weights[c];
    }
    return sum;
  }

 private:
  const TrainingOptions& options_;
  const Shape images_;
  std::vector<int64_t> rows_, columns_;
};

// Where the parts of a batch lie in one block of memory.
struct BatchLayout {
  size_t labels = 0, step = 0, bytes = 0;

  explicit BatchLayout(const Shape& images)
      : labels(round_up(images.elements(), kPlanAlignment)),
        step(labels + round_up(pixels_of(images), kPlanAlignment)),
        bytes(step + sizeof(StepValues)) {}
};

class CudaTrainer : public Trainer {
 public:
  CudaTrainer(int index, std::shared_ptr<const TrainingNetwork> network, Precision precision)
      : index_(index),
        network_(std::move(network)),
        precision_(precision),
        layout_(network_->images),
        loss_weight_(*network_) {}

  // Memory goes when nobody uses it any more.
  ~CudaTrainer() override {
    if (select_device(index_).ok()) static_cast<void>(synchronize(stream_.get()));
  }

  Status compile(const CudaNetwork::MakeCompiler& make_compiler, const std::atomic<bool>& cancelled) {
    DEEPLAB_RETURN_IF_ERROR(select_device(index_));
    DEEPLAB_RETURN_IF_ERROR(stream_.create());
    auto convolutions = make_compiler(stream_.get());
    if (!convolutions.ok()) return convolutions.status();
    convolutions_ = std::move(*convolutions);
    auto parameters = TrainingParameters::create(network_, precision_, stream_.get());
    if (!parameters.ok()) return parameters.status();
    parameters_ = std::move(*parameters);

    DeviceWeights no_file(nullptr, precision_, stream_.get());
    const LayerCompiler layers{*convolutions_, no_file, precision_, stream_.get()};
    const TrainingCompiler compiler{*network_, *parameters_, layers};
    const auto nodes = static_cast<NodeId>(network_->nodes.size());
    TrainingBytes bytes;
    for (std::vector<size_t>* all : {&bytes.saved, &bytes.forward_scratch, &bytes.backward_scratch}) all->resize(nodes);
    for (NodeId id = 0; id < nodes; ++id) bytes.output.push_back(output_bytes(compiler, id));
    // Before cuDNN is asked about what could never be computed.
    DEEPLAB_RETURN_IF_ERROR(check_device_memory(plan_training_memory(*network_, bytes).bytes, kPurpose));
    for (NodeId id = 0; id < nodes; ++id) {
      if (cancelled.load(std::memory_order_relaxed)) return error(Code::kAborted, "the trainer's making was aborted");
      const TrainingNode& node = network_->nodes[id];
      auto step = std::visit(CompileTrainingStep{compiler, id, node}, node.op);
      if (!step.ok()) return step.status();
      bytes.forward_scratch[id] = step->forward_scratch_bytes;
      bytes.backward_scratch[id] = step->backward_scratch_bytes;
      steps_.push_back(std::move(*step));
    }
    memory_ = plan_training_memory(*network_, bytes);
    DEEPLAB_RETURN_IF_ERROR(arena_.allocate(memory_.bytes, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(batch_.allocate(layout_.bytes, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(host_batch_.allocate(layout_.bytes, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(loss_.allocate(sizeof(double), kPurpose));
    return host_loss_.allocate(sizeof(double), kPurpose);
  }

  Status accumulate(const TrainingBatch& batch, double* loss, const std::atomic<bool>& cancelled) override {
    if (cancelled.load(std::memory_order_relaxed)) return error(Code::kAborted, "the training step was aborted");
    return on_device([&] { return run_step(batch, loss); });
  }

  Status update(const ParameterUpdate& update) override {
    return on_device([&] { return parameters_->update(update); });
  }

  Status read(int parameter, ParameterValues values, float* out) override {
    return on_device([&] { return parameters_->read(parameter, values, out); });
  }

  Status write(int parameter, ParameterValues values, const float* data) override {
    prepared_ = prepared_ && values != ParameterValues::kValue;
    return on_device([&] { return parameters_->write(parameter, values, data); });
  }

  HeldMemory activation_memory() const override { return {0, arena_.size()}; }
  HeldMemory parameter_memory() const override {
    return {host_batch_.size() + host_loss_.size() + parameters_->host_bytes(),
            batch_.size() + loss_.size() + parameters_->bytes()};
  }

  std::vector<LayerImplementation> layers() const override {
    std::vector<LayerImplementation> all;
    for (const TrainingStep& step : steps_) {
      all.insert(all.end(), step.implementations.begin(), step.implementations.end());
    }
    return all;
  }

 private:
  // A device that has failed stays so.
  template <typename Body>
  Status on_device(const Body& body) {
    if (!broken_.ok()) return broken_;
    DEEPLAB_RETURN_IF_ERROR(select_device(index_));
    const Status status = body();
    if (status.code() == Code::kDeviceFailed) broken_ = status;
    return status;
  }

  // Gradients of activations are of the mean loss; in f16, whose smallest numbers they would fall below, times a power
  // of two: of parameters' gradients it is taken out again. Those of kernels, in f16 as well, must not grow too large.
  StepValues step_values(const TrainingBatch& batch, double weight) const {
    constexpr double kMostRaised = 4096;
    const double raised =
        precision_ == Precision::kF16 ? std::exp2(std::floor(std::log2(std::clamp(weight, 1.0, kMostRaised)))) : 1.0;
    StepValues values{};
    values.loss_factor = weight > 0 ? static_cast<float>(raised / weight) : 0.0f;
    values.parameter_factor = static_cast<float>(batch.scale / raised);
    values.seed = batch.seed;
    return values;
  }

  Status run_step(const TrainingBatch& batch, double* loss) {
    const Stream stream = stream_.get();
    if (!prepared_) {
      for (const TrainingStep& step : steps_) {
        if (step.prepare) DEEPLAB_RETURN_IF_ERROR(step.prepare(stream));
      }
      prepared_ = true;
    }
    const double weight = loss_weight_.of(batch.labels);
    const StepValues values = step_values(batch, weight);
    std::byte* const host = host_batch_.data();
    std::memcpy(host, batch.pixels, network_->images.elements());
    std::memcpy(host + layout_.labels, batch.labels, pixels_of(network_->images));
    std::memcpy(host + layout_.step, &values, sizeof values);
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, batch_.data(), host, layout_.bytes));
    const Status computed = replay();
    if (computed.ok()) DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream, host_loss_.data(), loss_.data(), sizeof(double)));
    // Also of what failed: some of it may be under way, in memory that the next step will use.
    DEEPLAB_RETURN_IF_ERROR(synchronize(stream));
    DEEPLAB_RETURN_IF_ERROR(computed);
    *loss = weight > 0 ? *host_loss_.as<double>() / weight : 0.0;
    return Status();
  }

  // The first time kernels are started one by one, which loads them; the second time they are recorded. Nothing that a
  // recording names ever moves.
  Status replay() {
    if (!CapturedGraph::is_supported() || runs_++ == 0) return compute();
    const Stream stream = stream_.get();
    if (!recorded_) {
      DEEPLAB_RETURN_IF_ERROR(CapturedGraph::begin(stream));
      const Status computed = compute();
      DEEPLAB_RETURN_IF_ERROR(recording_.end(stream));
      DEEPLAB_RETURN_IF_ERROR(computed);
      recorded_ = true;
    }
    return recording_.launch(stream);
  }

  Status compute() {
    TrainingContext context;
    context.stream = stream_.get();
    context.arena = arena_.data();
    context.pixels = batch_.as<const uint8_t>();
    context.labels = context.pixels + layout_.labels;
    context.step = reinterpret_cast<const StepValues*>(batch_.data() + layout_.step);
    context.loss = loss_.as<double>();
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].forward) DEEPLAB_RETURN_IF_ERROR(steps_[i].forward(context, memory_.steps[i]));
    }
    for (size_t i = steps_.size(); i-- > 0;) {
      if (steps_[i].backward) DEEPLAB_RETURN_IF_ERROR(steps_[i].backward(context, memory_.steps[i]));
    }
    return Status();
  }

  const int index_;
  const std::shared_ptr<const TrainingNetwork> network_;
  const Precision precision_;
  const BatchLayout layout_;
  const LossWeight loss_weight_;
  OwnedStream stream_;
  std::unique_ptr<ConvolutionCompiler> convolutions_;
  std::unique_ptr<TrainingParameters> parameters_;
  std::vector<TrainingStep> steps_;  // per node
  TrainingMemory memory_;
  DeviceBuffer arena_, batch_, loss_;
  PinnedBuffer host_batch_, host_loss_;
  bool prepared_ = false;
  int64_t runs_ = 0;
  bool recorded_ = false;
  CapturedGraph recording_;
  Status broken_;
};

}  // namespace

int64_t stored_channels(const TrainingNetwork& network, NodeId id, Precision precision) {
  const TrainingNode& node = network.nodes[id];
  return std::holds_alternative<Normalize>(node.op) ? image_channels(precision) : padded_channels(node.output.c);
}

bool is_logits(const TrainingNetwork& network, NodeId id) {
  return !network.nodes.back().inputs.empty() && network.nodes.back().inputs[0] == id;
}

Result<std::unique_ptr<Trainer>> create_trainer(int index, std::shared_ptr<const TrainingNetwork> network,
                                                Precision precision, const CudaNetwork::MakeCompiler& make_compiler,
                                                const std::atomic<bool>& cancelled) {
  const TrainingNode& loss = network->nodes.back();
  if (!std::holds_alternative<Add>(network->nodes[loss.inputs[0]].op)) {
    return error(Code::kInternal, "expected logits that are a sum");
  }
  auto trainer = std::make_unique<CudaTrainer>(index, std::move(network), precision);
  DEEPLAB_RETURN_IF_ERROR(trainer->compile(make_compiler, cancelled));
  return std::unique_ptr<Trainer>(std::move(trainer));
}

}  // namespace deeplab::cuda

#include "backend/cpu/cpu_trainer.h"

#include <omp.h>

#include <algorithm>

#include "backend/cpu/channel_loops.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/training_step.h"
#include "core/process_exit.h"
#include "core/threads.h"

namespace deeplab {
namespace {

// One overload for each operation of a training step.
struct CompileTrainingStep {
  const TrainingCompiler& compiler;
  NodeId id;
  const TrainingNode& node;

  using Step = Result<TrainingStep>;
  Step operator()(const Normalize& op) const { return compile_training_normalize(compiler, op); }
  Step operator()(const Conv2d& op) const { return compile_training_convolution(compiler, node, op); }
  Step operator()(const BatchNormUnit& op) const { return compile_batch_norm_unit(compiler, node, op); }
  Step operator()(const Activate& op) const { return compile_activate(compiler, node, op); }
  Step operator()(const Add&) const { return compile_add(compiler, node); }
  Step operator()(const MaxPool& op) const {
    return compile_training_pooling(compiler, node, dnnl::algorithm::pooling_max, op.window);
  }
  Step operator()(const AveragePool& op) const {
    return compile_training_pooling(compiler, node, dnnl::algorithm::pooling_avg_include_padding, op.window);
  }
  Step operator()(const GlobalAveragePool&) const { return compile_training_average(compiler, node); }
  Step operator()(const Concat&) const { return compile_training_concat(compiler, node); }
  Step operator()(const Dropout& op) const { return compile_dropout(compiler, node, id, op); }
  Step operator()(const CrossEntropy& op) const { return compile_cross_entropy(compiler, node, op); }
};

Status step_aborted() { return error(Code::kAborted, "the training step was aborted"); }

class CpuTrainer : public Trainer {
 public:
  CpuTrainer(std::shared_ptr<const TrainingNetwork> network, const NetworkOptions& options)
      : network_(std::move(network)), options_(options) {}

  Status compile(const std::atomic<bool>& cancelled) {
    DEEPLAB_RETURN_IF_ERROR(parameters_.allocate(network_->parameters));
    const size_t nodes = network_->nodes.size();
    TrainingBytes bytes{{}, std::vector<size_t>(nodes), std::vector<size_t>(nodes), std::vector<size_t>(nodes)};
    const TrainingCompiler compiler{*network_, parameters_, options_.precision, options_.threads};
    for (const TrainingNode& node : network_->nodes) {
      bytes.output.push_back(std::holds_alternative<CrossEntropy>(node.op) ? 0 : compiler.bytes(node.output));
    }
    // Before oneDNN is asked about crops that could never be computed.
    DEEPLAB_RETURN_IF_ERROR(check(plan_training_memory(*network_, bytes).bytes));

    const CoreLease cores(options_.threads, cancelled);
    if (!cores.held()) return step_aborted();
    omp_set_num_threads(options_.threads);  // oneDNN cuts its work for the number of threads it sees now
    for (size_t id = 0; id < nodes; ++id) {
      if (cancelled.load(std::memory_order_relaxed)) return step_aborted();
      expect_exit();  // oneDNN constructs static objects as it meets new kinds of layers
      const TrainingNode& node = network_->nodes[id];
      try {
        const std::lock_guard<std::mutex> lock(onednn::creation_mutex());
        auto step = std::visit(CompileTrainingStep{compiler, static_cast<NodeId>(id), node}, node.op);
        if (!step.ok()) return step.status();
        bytes.saved[id] = step->saved_bytes;
        bytes.forward_scratch[id] = step->forward_scratch_bytes;
        bytes.backward_scratch[id] = step->backward_scratch_bytes;
        packed_bytes_ += step->weights_bytes;
        layers_.push_back({node.name, step->implementation});
        steps_.push_back(std::move(*step));
      } catch (const dnnl::error& failure) {
        return error(Code::kInternal, "layer ", node.name, ": oneDNN: ", failure.what());
      }
    }
    memory_ = plan_training_memory(*network_, bytes);
    DEEPLAB_RETURN_IF_ERROR(check(memory_.bytes));
    return arena_.allocate(memory_.bytes);
  }

  Status accumulate(const TrainingBatch& batch, double* loss, const std::atomic<bool>& cancelled) override {
    const CoreLease cores(options_.threads, cancelled);
    if (!cores.held()) return step_aborted();
    omp_set_num_threads(options_.threads);
    const TrainingContext context{stream_, arena_.data(), batch, loss};
    try {
      for (size_t id = 0; id < steps_.size(); ++id) {
        DEEPLAB_RETURN_IF_ERROR(run(steps_[id].forward, id, context, cancelled));
      }
      for (size_t id = steps_.size(); id-- > 0;) {
        DEEPLAB_RETURN_IF_ERROR(run(steps_[id].backward, id, context, cancelled));
      }
      stream_.wait();
    } catch (const dnnl::error& failure) {
      return error(Code::kInternal, "oneDNN: ", failure.what());
    }
    return Status();
  }

  Status update(const ParameterUpdate& update) override {
    const std::atomic<bool> never{false};
    const CoreLease cores(options_.threads, never);
    omp_set_num_threads(options_.threads);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const ParameterTensor& tensor = parameters_[i];
      if (tensor.gradient == nullptr) continue;
      parallel_slices(tensor.elements, [&](int64_t first, int64_t count) {
        descend(tensor.value + first, tensor.momentum + first, tensor.gradient + first, count, update.learning_rates[i],
                update.weight_decays[i], update.momentum);
      });
    }
    parameters_.changed();
    return Status();
  }

  Status read(int parameter, ParameterValues values, float* out) override {
    const ParameterTensor& tensor = parameters_[parameter];
    std::copy_n(find(tensor, values), tensor.elements, out);
    return Status();
  }

  Status write(int parameter, ParameterValues values, const float* data) override {
    const ParameterTensor& tensor = parameters_[parameter];
    std::copy_n(data, tensor.elements, find(tensor, values));
    if (values == ParameterValues::kValue) parameters_.changed();
    return Status();
  }

  HeldMemory activation_memory() const override { return {arena_.size(), 0}; }
  HeldMemory parameter_memory() const override { return {parameters_.bytes() + packed_bytes_, 0}; }
  std::vector<LayerImplementation> layers() const override { return layers_; }

 private:
  static Status check(size_t bytes) {
    return check_memory(bytes, "the activations and gradients of a batch of this size");
  }

  Status run(const TrainingRun& run, size_t id, const TrainingContext& context,
             const std::atomic<bool>& cancelled) const {
    if (!run) return Status();
    if (cancelled.load(std::memory_order_relaxed)) return step_aborted();
    run(context, memory_.steps[id]);
    return Status();
  }

  // Only what is trained has more than its value.
  static float* find(const ParameterTensor& tensor, ParameterValues values) {
    if (values == ParameterValues::kValue) return tensor.value;
    return values == ParameterValues::kMomentum ? tensor.momentum : tensor.gradient;
  }

  const std::shared_ptr<const TrainingNetwork> network_;
  const NetworkOptions options_;
  Parameters parameters_;
  std::vector<TrainingStep> steps_;  // per node
  TrainingMemory memory_;
  AlignedBuffer arena_;
  size_t packed_bytes_ = 0;
  std::vector<LayerImplementation> layers_;
  dnnl::stream stream_{onednn::engine()};
};

}  // namespace

Result<std::unique_ptr<Trainer>> create_cpu_trainer(std::shared_ptr<const TrainingNetwork> network,
                                                    const NetworkOptions& options, const std::atomic<bool>& cancelled) {
  auto trainer = std::make_unique<CpuTrainer>(std::move(network), options);
  DEEPLAB_RETURN_IF_ERROR(trainer->compile(cancelled));
  return std::unique_ptr<Trainer>(std::move(trainer));
}

}  // namespace deeplab

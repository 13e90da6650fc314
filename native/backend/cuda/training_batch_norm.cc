// Batch norm of a training step, with the residual and the activation behind it.
#include "backend/cuda/batch_norm_kernels.h"
#include "backend/cuda/training_step.h"

namespace deeplab::cuda {
namespace {

struct NormUnit {
  bool trained;
  float eps, momentum;
  Activation activation;
  bool residual;
  GradientUse input_gradient, residual_gradient;
  ChannelBlocks blocks;
  NormParameters parameters;
  NormTables tables;
  float* scale_gradient;
  float* shift_gradient;
  std::shared_ptr<const DeviceBuffer> memory;  // of the tables

  int64_t eights() const { return blocks.pixels * blocks.eights; }

  template <typename T>
  Status forward(const TrainingContext& context, const TrainingStepMemory& at) const {
    const auto* input = context.at<const Eight<T>>(at.inputs[0]);
    if (trained) {
      DEEPLAB_RETURN_IF_ERROR(reduce_channels(context.stream, blocks, MomentsTerm<T>{input, blocks.eights},
                                              context.at<void>(at.forward_scratch),
                                              FinishMoments{tables, parameters, eps, momentum}));
    }
    const auto* added = residual ? context.at<const Eight<T>>(at.inputs[1]) : nullptr;
    const NormalizeChannelsKernel<T> kernel{
        input, added, blocks.eights, tables, parameters.shift, activation, context.at<Eight<T>>(at.output)};
    return launch(context.stream, eights(), kernel);
  }

  template <typename T>
  Status backward(const TrainingContext& context, const TrainingStepMemory& at) const {
    auto* const gradient = context.at<Eight<T>>(at.gradient);
    const auto* const output = context.at<const Eight<T>>(at.output);
    auto* const to_input = is_computed(input_gradient) ? context.at<Eight<T>>(at.input_gradients[0]) : nullptr;
    auto* const to_residual =
        residual && is_added(residual_gradient) ? context.at<Eight<T>>(at.input_gradients[1]) : nullptr;
    if (!trained) {
      const bool keep = residual && residual_gradient == GradientUse::kShared && activation != Activation::kNone;
      const FrozenNormGradientKernel<T> kernel{
          output, activation, blocks.eights, tables, keep, gradient, to_residual, is_added(input_gradient), to_input};
      return launch(context.stream, eights(), kernel);
    }
    const auto* const input = context.at<const Eight<T>>(at.inputs[0]);
    const NormGradientTerm<T> term{input, output, activation, gradient, to_residual, blocks.eights, tables};
    const FinishNormGradient finish{tables, static_cast<float>(blocks.pixels), context.step, scale_gradient,
                                    shift_gradient};
    DEEPLAB_RETURN_IF_ERROR(
        reduce_channels(context.stream, blocks, term, context.at<void>(at.backward_scratch), finish));
    if (to_input == nullptr) return Status();
    const NormInputGradientKernel<T> kernel{gradient, input, blocks.eights, tables, is_added(input_gradient), to_input};
    return launch(context.stream, eights(), kernel);
  }
};

}  // namespace

Result<TrainingStep> compile_batch_norm_unit(const TrainingCompiler& compiler, const TrainingNode& node,
                                             const BatchNormUnit& op) {
  const TrainingOptions& options = compiler.network.options;
  if (op.residual && node.gradients[1] == GradientUse::kWrite) {
    return error(Code::kInternal, "layer ", node.name, ": its residual's gradient has memory of its own");
  }
  NormUnit unit{};
  unit.trained = options.batch_norm == BatchNormMode::kTrained;
  unit.eps = op.norm.eps;
  unit.momentum = options.batch_norm_momentum;
  unit.activation = op.activation;
  unit.residual = op.residual;
  unit.input_gradient = node.gradients[0];
  unit.residual_gradient = op.residual ? node.gradients[1] : GradientUse::kNone;
  unit.blocks = ChannelBlocks::of(pixels_of(node.output), eights_of(node.output));
  TrainingParameters& parameters = compiler.parameters;
  const std::string& name = op.norm.name;
  unit.parameters = {parameters.value(name + ".weight"), parameters.value(name + ".bias"),
                     parameters.value(name + ".running_mean"), parameters.value(name + ".running_var")};
  if (unit.trained) {
    unit.scale_gradient = parameters.gradient(name + ".weight");
    unit.shift_gradient = parameters.gradient(name + ".bias");
  }
  const int64_t channels = unit.blocks.channels();
  auto memory = std::make_shared<DeviceBuffer>();
  DEEPLAB_RETURN_IF_ERROR(memory->allocate(kNormTables * channels * sizeof(float), "a batch norm's statistics"));
  auto* const table = memory->as<float>();
  unit.tables = {table, table + channels, table + 2 * channels, table + 3 * channels, table + 4 * channels};
  unit.memory = std::move(memory);

  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  if (unit.trained) {
    step.forward_scratch_bytes = unit.blocks.partial_bytes(sizeof(Moments));
    step.backward_scratch_bytes = unit.blocks.partial_bytes(sizeof(Totals<2>));
  } else {
    step.prepare = [unit](Stream stream) {
      return launch(stream, unit.blocks.channels(), FrozenTablesKernel{unit.tables, unit.parameters, unit.eps});
    };
  }
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.forward = [unit](const TrainingContext& context, const TrainingStepMemory& at) {
      return unit.forward<T>(context, at);
    };
    step.backward = [unit](const TrainingContext& context, const TrainingStepMemory& at) {
      return unit.backward<T>(context, at);
    };
  });
  return step;
}

}  // namespace deeplab::cuda

// Convolutions of a training step: forward with bias and ReLU in it, and backward to the bias, the kernel and the
// input.
#include <algorithm>
#include <cmath>

#include "backend/cuda/training_step.h"
#include "core/memory.h"

namespace deeplab::cuda {
namespace {

LayerImplementation described(const std::string& name, const Convolution& convolution) {
  return {name, convolution.implementation(), convolution.milliseconds(), convolution.cached()};
}

// What comes before the gradients of kernel and input: the gradient goes back through the activation, and its sums are
// the bias's gradient.
struct BiasGradient {
  ChannelBlocks blocks{};
  Activation activation = Activation::kNone;
  float* bias = nullptr;  // the gradient; null: there is no bias

  size_t scratch_bytes() const { return bias == nullptr ? 0 : blocks.partial_bytes(sizeof(Totals<1>)); }

  template <typename T>
  Status run(const TrainingContext& context, const TrainingStepMemory& memory) const {
    auto* gradient = context.at<Eight<T>>(memory.gradient);
    const auto* output = context.at<const Eight<T>>(memory.output);
    if (bias != nullptr) {
      const BiasGradientTerm<T> term{output, activation, gradient, blocks.eights};
      return reduce_channels(context.stream, blocks, term, context.at<void>(memory.backward_scratch),
                             FinishParameterGradient{context.step, bias});
    }
    if (activation == Activation::kNone) return Status();
    const PassGradientKernel<T> kernel{gradient, output, activation, false, gradient};
    return launch(context.stream, blocks.pixels * blocks.eights, kernel);
  }
};

BiasGradient bias_gradient(const TrainingCompiler& compiler, const TrainingNode& node, const Conv2d& op) {
  return {ChannelBlocks::of(pixels_of(node.output), eights_of(node.output)), op.activation,
          op.bias.empty() ? nullptr : compiler.parameters.gradient(op.bias)};
}

// The three directions of a convolution, and memory for what the backward ones leave.
struct TrainedConvolution {
  std::shared_ptr<const Convolution> forward, filter, data;  // data: null where nobody asks
  BiasGradient before;
  bool adds_data = false;
  int64_t kernel_elements = 0, input_eights = 0;
  float* kernel_gradient = nullptr;

  size_t kernel_bytes(size_t element) const { return round_up(kernel_elements * element, kPlanAlignment); }
  size_t data_bytes(size_t element) const {
    return adds_data ? round_up(8 * input_eights * element, kPlanAlignment) : 0;
  }
  size_t scratch_bytes(size_t element) const {
    const size_t for_data = data == nullptr ? 0 : data_bytes(element) + data->workspace_bytes();
    return std::max({before.scratch_bytes(), kernel_bytes(element) + filter->workspace_bytes(), for_data});
  }

  template <typename T>
  Status backward(const TrainingContext& context, const TrainingStepMemory& memory, const void* kernel) const {
    DEEPLAB_RETURN_IF_ERROR(before.run<T>(context, memory));
    std::byte* const scratch = context.at<std::byte>(memory.backward_scratch);
    ConvArguments arguments;
    arguments.gradient = context.at<void>(memory.gradient);
    arguments.input = context.at<void>(memory.inputs[0]);
    arguments.output = scratch;
    arguments.workspace = scratch + kernel_bytes(sizeof(T));
    DEEPLAB_RETURN_IF_ERROR(filter->run(context.stream, arguments));
    const AddParameterGradientKernel<T> add{reinterpret_cast<const T*>(scratch), context.step, kernel_gradient};
    DEEPLAB_RETURN_IF_ERROR(launch(context.stream, kernel_elements, add));
    if (data == nullptr) return Status();
    auto* const input_gradient = context.at<Eight<T>>(memory.input_gradients[0]);
    arguments.input = nullptr;
    arguments.kernel = kernel;
    if (!adds_data) arguments.output = input_gradient;
    arguments.workspace = scratch + data_bytes(sizeof(T));
    DEEPLAB_RETURN_IF_ERROR(data->run(context.stream, arguments));
    if (!adds_data) return Status();
    const SumKernel<T> sum{{reinterpret_cast<const Eight<T>*>(scratch)}, 1, true, input_gradient};
    return launch(context.stream, input_eights, sum);
  }
};

}  // namespace

ConvSpec training_spec(const TrainingNetwork& network, const TrainingNode& node, Precision precision,
                       ConvDirection direction) {
  const auto& op = std::get<Conv2d>(node.op);
  const NodeId input = node.inputs[0];
  ConvSpec spec = conv_spec(precision, op.window, network.nodes[input].output,
                            stored_channels(network, input, precision), node.output);
  spec.direction = direction;
  const bool forward = direction == ConvDirection::kForward;
  spec.bias = forward && !op.bias.empty();
  spec.relu = forward && op.activation != Activation::kNone;
  return spec;
}

Result<TrainingStep> compile_training_convolution(const TrainingCompiler& compiler, const TrainingNode& node,
                                                  const Conv2d& op) {
  if (op.depthwise) return compile_training_depthwise(compiler, node, op);
  TrainedConvolution trained;
  TrainingStep step;
  const auto compile = [&](ConvDirection direction, const char* what,
                           std::shared_ptr<const Convolution>* convolution) -> Status {
    auto compiled =
        compiler.layers.convolutions.compile(training_spec(compiler.network, node, compiler.precision(), direction));
    if (!compiled.ok()) {
      return error(compiled.status().code(), "layer ", node.name, what, ": ", compiled.status().message());
    }
    step.implementations.push_back(described(node.name + what, **compiled));
    *convolution = *compiled;
    return Status();
  };
  DEEPLAB_RETURN_IF_ERROR(compile(ConvDirection::kForward, "", &trained.forward));
  DEEPLAB_RETURN_IF_ERROR(compile(ConvDirection::kBackwardFilter, ", kernel's gradient", &trained.filter));
  if (is_computed(node.gradients[0])) {
    DEEPLAB_RETURN_IF_ERROR(compile(ConvDirection::kBackwardData, ", input's gradient", &trained.data));
  }
  const ConvSpec spec = training_spec(compiler.network, node, compiler.precision(), ConvDirection::kForward);
  trained.before = bias_gradient(compiler, node, op);
  trained.adds_data = is_added(node.gradients[0]);
  trained.kernel_elements = spec.kernel_elements();
  trained.input_eights = spec.input_elements() / 8;
  trained.kernel_gradient = compiler.parameters.gradient(op.weight);

  const void* kernel = compiler.parameters.computed(op.weight);
  const void* bias = op.bias.empty() ? nullptr : compiler.parameters.computed(op.bias);
  step.forward_scratch_bytes = trained.forward->workspace_bytes();
  step.backward_scratch_bytes = trained.scratch_bytes(element_bytes(compiler.precision()));
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    step.forward = [convolution = trained.forward, kernel, bias, relu6 = op.activation == Activation::kRelu6,
                    eights = spec.output_elements() / 8](const TrainingContext& context,
                                                         const TrainingStepMemory& memory) -> Status {
      ConvArguments arguments;
      arguments.input = context.at<void>(memory.inputs[0]);
      arguments.kernel = kernel;
      arguments.bias = bias;
      arguments.output = context.at<void>(memory.output);
      arguments.workspace = context.at<void>(memory.forward_scratch);
      DEEPLAB_RETURN_IF_ERROR(convolution->run(context.stream, arguments));
      if (!relu6) return Status();
      return launch(context.stream, eights, ClipKernel<T>{context.at<Eight<T>>(memory.output)});
    };
    step.backward = [trained, kernel](const TrainingContext& context, const TrainingStepMemory& memory) {
      return trained.backward<T>(context, memory, kernel);
    };
  });
  return step;
}

TrainingStep compile_training_depthwise(const TrainingCompiler& compiler, const TrainingNode& node, const Conv2d& op) {
  const WindowGeometry window =
      window_geometry(op.window, compiler.input(node), compiler.in_channels(node), node.output);
  const BiasGradient before = bias_gradient(compiler, node, op);
  const GradientUse use = node.gradients[0];
  const int64_t outputs = pixels_of(node.output) * window.eights;
  const int64_t inputs = pixels_of(compiler.input(node)) * window.in_eights;
  float* const kernel_gradient = compiler.parameters.gradient(op.weight);
  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  step.backward_scratch_bytes = before.blocks.partial_bytes(sizeof(Totals<1>));
  with_element(compiler.precision(), [&](auto element) {
    using T = decltype(element);
    DepthwiseKernel<T> kernel{};
    kernel.window = window;
    kernel.kernel = static_cast<const Eight<T>*>(compiler.parameters.computed(op.weight));
    kernel.bias = op.bias.empty() ? nullptr : static_cast<const Eight<T>*>(compiler.parameters.computed(op.bias));
    kernel.input_bound = INFINITY;
    kernel.activation = op.activation;
    step.forward = [kernel, outputs](const TrainingContext& context, const TrainingStepMemory& memory) mutable {
      kernel.input = context.at<const Eight<T>>(memory.inputs[0]);
      kernel.output = context.at<Eight<T>>(memory.output);
      return launch(context.stream, outputs, kernel);
    };
    step.backward = [=, weights = kernel.kernel](const TrainingContext& context,
                                                 const TrainingStepMemory& memory) -> Status {
      DEEPLAB_RETURN_IF_ERROR(before.run<T>(context, memory));
      const auto* gradient = context.at<const Eight<T>>(memory.gradient);
      const auto* input = context.at<const Eight<T>>(memory.inputs[0]);
      for (int64_t i = 0; i < window.kernel * window.kernel; ++i) {
        const DepthwiseKernelTerm<T> term{window, i / window.kernel, i % window.kernel, input, gradient};
        const FinishParameterGradient finish{context.step, kernel_gradient + i * 8 * window.eights};
        DEEPLAB_RETURN_IF_ERROR(
            reduce_channels(context.stream, before.blocks, term, context.at<void>(memory.backward_scratch), finish));
      }
      if (!is_computed(use)) return Status();
      const DepthwiseGradientKernel<T> back{
          {window}, weights, gradient, is_added(use), context.at<Eight<T>>(memory.input_gradients[0])};
      return launch(context.stream, inputs, back);
    };
  });
  return step;
}

}  // namespace deeplab::cuda

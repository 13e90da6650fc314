// Convolutions forward, and backward to their source and to their kernel and bias, by oneDNN. Kernels are kept as f32,
// row-major; what oneDNN computes with is made of them when they have changed, and what it makes is added to their
// gradients.
#include <memory>

#include "backend/cpu/channel_loops.h"
#include "backend/cpu/convolution.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/training_step.h"

namespace deeplab {
namespace {

using dnnl::memory;

memory unbound(const memory::desc& desc) { return memory(desc, onednn::engine(), nullptr); }

size_t aligned(size_t bytes) { return round_up(bytes, AlignedBuffer::kAlignment); }

// A kernel in the layout and type that a primitive asks for, made anew when the parameters have changed.
class PackedKernel {
 public:
  PackedKernel(const memory::desc& plain, const memory::desc& packed, float* values)
      : plain_(plain, onednn::engine(), values),
        packed_(unbound(packed)),
        reorder_(onednn::describe_reorder(plain, packed, false)) {}

  Status allocate() {
    DEEPLAB_RETURN_IF_ERROR(buffer_.allocate(packed_.get_desc().get_size()));
    packed_.set_data_handle(buffer_.data());
    return Status();
  }

  const memory& get(const Parameters& parameters, dnnl::stream& stream) {
    if (version_ != parameters.version()) {
      reorder_.execute(stream, {{DNNL_ARG_FROM, plain_}, {DNNL_ARG_TO, packed_}});
      version_ = parameters.version();
    }
    return packed_;
  }
  size_t bytes() const { return buffer_.size(); }

 private:
  memory plain_, packed_;
  dnnl::reorder reorder_;
  AlignedBuffer buffer_;
  uint64_t version_ = 0;
};

struct TrainedConvolution {
  TrainedConvolution(const onednn::ConvolutionSpec& spec, const Parameters& parameters, const memory::desc& plain,
                     const ParameterTensor& kernel, const ParameterTensor* bias)
      : parameters(parameters),
        forward_pd(onednn::describe_convolution(spec)),
        weights_pd(onednn::describe_backward_weights(spec, any(plain), spec.bias, forward_pd)),
        forward(forward_pd),
        backward_weights(weights_pd),
        forward_kernel(plain, forward_pd.weights_desc(), kernel.value),
        kernel_gradient(plain, onednn::engine(), kernel.gradient),
        add_gradient(onednn::describe_reorder(weights_pd.diff_weights_desc(), plain, true)),
        source(unbound(spec.source)),
        destination(unbound(spec.destination)),
        packed_gradient(unbound(weights_pd.diff_weights_desc())),
        bias_gradient(unbound(spec.bias)),
        forward_scratch(unbound(forward_pd.scratchpad_desc())),
        weights_scratch(unbound(weights_pd.scratchpad_desc())) {
    if (bias != nullptr) {
      its_bias = *bias;
      bias_value = memory(spec.bias, onednn::engine(), bias->value);
    }
  }

  static memory::desc any(const memory::desc& plain) {
    return memory::desc(plain.dims(), memory::data_type::f32, memory::format_tag::any);
  }

  const Parameters& parameters;
  const dnnl::convolution_forward::primitive_desc forward_pd;
  const dnnl::convolution_backward_weights::primitive_desc weights_pd;
  dnnl::convolution_forward forward;
  dnnl::convolution_backward_weights backward_weights;
  PackedKernel forward_kernel;
  memory kernel_gradient;
  dnnl::reorder add_gradient;
  memory source, destination, packed_gradient, bias_gradient, forward_scratch, weights_scratch;
  memory bias_value;
  ParameterTensor its_bias;

  // To the source; not of a convolution that reads the image.
  struct ToSource {
    ToSource(const onednn::ConvolutionSpec& spec, const memory::desc& plain, const ParameterTensor& kernel,
             const dnnl::convolution_forward::primitive_desc& forward)
        : pd(onednn::describe_backward_data(spec, forward)),
          backward(pd),
          kernel(plain, pd.weights_desc(), kernel.value),
          gradient(unbound(spec.source)),
          scratch(unbound(pd.scratchpad_desc())) {}

    const dnnl::convolution_backward_data::primitive_desc pd;
    dnnl::convolution_backward_data backward;
    PackedKernel kernel;
    memory gradient, scratch;
  };
  std::unique_ptr<ToSource> to_source;

  bool has_bias() const { return its_bias.value != nullptr; }

  void run_forward(const TrainingContext& context, const TrainingStepMemory& at) {
    source.set_data_handle(context.at<void>(at.inputs[0]));
    destination.set_data_handle(context.at<void>(at.output));
    forward_scratch.set_data_handle(context.at<void>(at.forward_scratch));
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, source},
                                                 {DNNL_ARG_WEIGHTS, forward_kernel.get(parameters, context.stream)},
                                                 {DNNL_ARG_DST, destination},
                                                 {DNNL_ARG_SCRATCHPAD, forward_scratch}};
    if (has_bias()) arguments.emplace(DNNL_ARG_BIAS, bias_value);
    forward.execute(context.stream, arguments);
  }

  // Of `destination`'s gradient, which the arguments have as what it is now.
  void run_backward_weights(const TrainingContext& context, const TrainingStepMemory& at) {
    std::byte* scratch = context.arena + at.backward_scratch;
    source.set_data_handle(context.at<void>(at.inputs[0]));
    packed_gradient.set_data_handle(scratch);
    scratch += aligned(packed_gradient.get_desc().get_size());
    auto* of_bias = reinterpret_cast<float*>(scratch);
    scratch += aligned(its_bias.elements * sizeof(float));
    weights_scratch.set_data_handle(scratch);
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, source},
                                                 {DNNL_ARG_DIFF_DST, destination},
                                                 {DNNL_ARG_DIFF_WEIGHTS, packed_gradient},
                                                 {DNNL_ARG_SCRATCHPAD, weights_scratch}};
    if (has_bias()) {
      bias_gradient.set_data_handle(of_bias);
      arguments.emplace(DNNL_ARG_DIFF_BIAS, bias_gradient);
    }
    backward_weights.execute(context.stream, arguments);
    add_gradient.execute(context.stream, {{DNNL_ARG_FROM, packed_gradient}, {DNNL_ARG_TO, kernel_gradient}});
    if (has_bias()) add_elements(of_bias, its_bias.elements, true, its_bias.gradient);
  }
  size_t weights_bytes() const {
    return aligned(weights_pd.diff_weights_desc().get_size()) + aligned(its_bias.elements * sizeof(float)) +
           weights_pd.scratchpad_desc().get_size();
  }

  // Where others have written already, by way of scratch memory.
  template <typename T>
  void run_backward_data(const TrainingContext& context, const TrainingStepMemory& at, bool add, int64_t elements) {
    std::byte* scratch = context.arena + at.backward_scratch;
    T* const out = context.at<T>(at.input_gradients[0]);
    T* const written = add ? reinterpret_cast<T*>(scratch) : out;
    if (add) scratch += aligned(elements * sizeof(T));
    to_source->gradient.set_data_handle(written);
    to_source->scratch.set_data_handle(scratch);
    to_source->backward.execute(context.stream, {{DNNL_ARG_DIFF_DST, destination},
                                                 {DNNL_ARG_WEIGHTS, to_source->kernel.get(parameters, context.stream)},
                                                 {DNNL_ARG_DIFF_SRC, to_source->gradient},
                                                 {DNNL_ARG_SCRATCHPAD, to_source->scratch}});
    if (!add) return;
    parallel_slices(elements,
                    [&](int64_t first, int64_t count) { add_elements(written + first, count, true, out + first); });
  }
  size_t data_bytes(bool add, size_t source_bytes) const {
    return to_source == nullptr ? 0 : (add ? aligned(source_bytes) : 0) + to_source->pd.scratchpad_desc().get_size();
  }
};

template <typename T>
TrainingRun backward_run(const std::shared_ptr<TrainedConvolution>& convolution, const Shape& output,
                         const Shape& input, Activation activation, GradientUse use) {
  return [=](const TrainingContext& context, const TrainingStepMemory& at) {
    T* gradient = context.at<T>(at.gradient);
    if (activation != Activation::kNone) {
      const T* y = context.at<T>(at.output);
      const int64_t row = output.w * output.c;
      parallel_for(output.n * output.h,
                   [&](int64_t i) { mask_gradient(gradient + i * row, y + i * row, row, activation); });
    }
    convolution->destination.set_data_handle(gradient);
    convolution->run_backward_weights(context, at);
    if (convolution->to_source == nullptr) return;
    convolution->template run_backward_data<T>(context, at, use == GradientUse::kAdd, input.elements());
  };
}

}  // namespace

Result<TrainingStep> compile_training_convolution(const TrainingCompiler& compiler, const TrainingNode& node,
                                                  const Conv2d& op) {
  const Shape& input = compiler.input(node, 0);
  const memory::data_type type = onednn::data_type(compiler.precision);
  memory::dims kernel_dims{op.out_channels, op.depth(), op.window.kernel, op.window.kernel};
  if (op.depthwise) kernel_dims.insert(kernel_dims.begin() + 1, 1);  // [groups,out,in,height,width]
  const auto row_major = op.depthwise ? memory::format_tag::abcde : memory::format_tag::abcd;
  const memory::desc plain(kernel_dims, memory::data_type::f32, row_major);

  onednn::ConvolutionSpec spec;
  spec.training = true;
  spec.source = nhwc(input, type);
  spec.destination = nhwc(node.output, type);
  spec.weights = memory::desc(kernel_dims, type, memory::format_tag::any);
  const bool has_bias = !op.bias.empty();
  if (has_bias) spec.bias = memory::desc({op.out_channels}, memory::data_type::f32, memory::format_tag::a);
  spec.stride = op.window.stride;
  spec.dilation = op.window.dilation;
  spec.rows = window_extent(op.window, input.h);
  spec.columns = window_extent(op.window, input.w);
  spec.activation = op.activation;

  const TrainingNetwork& network = compiler.network;
  const ParameterTensor& kernel = compiler.parameters[network.parameter(op.weight)];
  const ParameterTensor* bias = has_bias ? &compiler.parameters[network.parameter(op.bias)] : nullptr;
  auto convolution = std::make_shared<TrainedConvolution>(spec, compiler.parameters, plain, kernel, bias);
  DEEPLAB_RETURN_IF_ERROR(convolution->forward_kernel.allocate());
  const GradientUse use = node.gradients[0];
  if (use != GradientUse::kNone) {
    spec.activation = Activation::kNone;
    convolution->to_source =
        std::make_unique<TrainedConvolution::ToSource>(spec, plain, kernel, convolution->forward_pd);
    DEEPLAB_RETURN_IF_ERROR(convolution->to_source->kernel.allocate());
  }

  TrainingStep step;
  step.implementation = convolution->forward_pd.impl_info_str();
  if (convolution->to_source != nullptr) {
    step.implementation += std::string(", ") + convolution->to_source->pd.impl_info_str();
    step.weights_bytes += convolution->to_source->kernel.bytes();
  }
  step.implementation += std::string(", ") + convolution->weights_pd.impl_info_str();
  step.weights_bytes += convolution->forward_kernel.bytes();
  step.forward_scratch_bytes = convolution->forward_pd.scratchpad_desc().get_size();
  step.backward_scratch_bytes =
      std::max(convolution->weights_bytes(), convolution->data_bytes(use == GradientUse::kAdd, compiler.bytes(input)));
  step.forward = [convolution](const TrainingContext& context, const TrainingStepMemory& at) {
    convolution->run_forward(context, at);
  };
  step.backward = compiler.bf16() ? backward_run<uint16_t>(convolution, node.output, input, op.activation, use)
                                  : backward_run<float>(convolution, node.output, input, op.activation, use);
  return step;
}

}  // namespace deeplab

#include "backend/cpu/convolution.h"

namespace deeplab {
namespace {

using dnnl::memory;

// A memory object whose bytes will be found in the arena.
memory unbound(const memory::desc& desc) { return memory(desc, onednn::engine(), nullptr); }

// The step of a described convolution whose weights are `read`.
Result<Step> convolution_step(const LayerCompiler& compiler, const std::string& key, onednn::ConvolutionSpec spec,
                              const Dims& kernel_dims, const std::function<Result<ConvWeights>()>& read) {
  const memory::data_type weights_type = onednn::data_type(compiler.options.precision);
  spec.weights = memory::desc(kernel_dims, weights_type, memory::format_tag::any);
  spec.bias = memory::desc({kernel_dims[0]}, memory::data_type::f32, memory::format_tag::a);
  const auto description = onednn::describe_convolution(spec);
  auto packed = compiler.weights.get(key, description.weights_desc(), read);
  if (!packed.ok()) return packed.status();

  Step step;
  step.weights = *packed;
  step.implementation = description.impl_info_str();
  step.scratch_bytes = description.scratchpad_desc().get_size();
  step.run = [convolution = dnnl::convolution_forward(description), packed = *packed, source = unbound(spec.source),
              destination = unbound(spec.destination), scratch = unbound(description.scratchpad_desc())](
                 const StepContext& context, const StepMemory& at) mutable {
    source.set_data_handle(context.at<void>(at.inputs[0]));
    destination.set_data_handle(context.at<void>(at.output));
    scratch.set_data_handle(context.at<void>(at.scratch));
    convolution.execute(context.stream, {{DNNL_ARG_SRC, source},
                                         {DNNL_ARG_WEIGHTS, packed->kernel},
                                         {DNNL_ARG_BIAS, packed->bias},
                                         {DNNL_ARG_DST, destination},
                                         {DNNL_ARG_SCRATCHPAD, scratch}});
  };
  return step;
}

}  // namespace

memory::desc nhwc(const Shape& shape, memory::data_type type) {
  return {{shape.n, shape.c, shape.h, shape.w}, type, memory::format_tag::nhwc};
}

Result<Step> compile_convolution(const LayerCompiler& compiler, const Conv2d& op, const Shape& input,
                                 const Shape& output) {
  const memory::data_type type = onednn::data_type(compiler.options.precision);
  onednn::ConvolutionSpec spec;
  spec.source = nhwc(input, type);
  spec.destination = nhwc(output, type);
  spec.stride = op.window.stride;
  spec.dilation = op.window.dilation;
  spec.rows = window_extent(op.window, input.h);
  spec.columns = window_extent(op.window, input.w);
  spec.adds_to_destination = op.residual;  // the memory plan put the residual where the output goes
  spec.activation = op.activation;
  Dims kernel_dims{op.out_channels, op.depth(), op.window.kernel, op.window.kernel};
  if (op.depthwise) kernel_dims.insert(kernel_dims.begin() + 1, 1);  // [groups,out,in,height,width]
  return convolution_step(compiler, weights_key(op), spec, kernel_dims, [&] {
    auto weights = read_weights(compiler.file, op);
    if (weights.ok()) weights->dims = kernel_dims;
    return weights;
  });
}

Result<Step> compile_atrous_taps(const LayerCompiler& compiler, const AtrousTaps& op, const Shape& input,
                                 const Shape& output) {
  onednn::ConvolutionSpec spec;
  spec.source = nhwc(input, onednn::data_type(compiler.options.precision));
  spec.destination = nhwc(output, memory::data_type::f32);
  return convolution_step(compiler, weights_key(op), spec, {output.c, input.c, 1, 1},
                          [&] { return read_weights(compiler.file, op); });
}

Result<Step> compile_pooling(const LayerCompiler& compiler, dnnl::algorithm algorithm, const Window& window,
                             const Shape& input, const Shape& output) {
  const memory::data_type type = onednn::data_type(compiler.options.precision);
  const auto description = onednn::describe_pooling(algorithm, nhwc(input, type), nhwc(output, type), window,
                                                    window_extent(window, input.h), window_extent(window, input.w));
  Step step;
  step.implementation = description.impl_info_str();
  step.scratch_bytes = description.scratchpad_desc().get_size();
  step.run = [pooling = dnnl::pooling_forward(description), source = unbound(description.src_desc()),
              destination = unbound(description.dst_desc()), scratch = unbound(description.scratchpad_desc())](
                 const StepContext& context, const StepMemory& at) mutable {
    source.set_data_handle(context.at<void>(at.inputs[0]));
    destination.set_data_handle(context.at<void>(at.output));
    scratch.set_data_handle(context.at<void>(at.scratch));
    pooling.execute(context.stream,
                    {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, destination}, {DNNL_ARG_SCRATCHPAD, scratch}});
  };
  return step;
}

}  // namespace deeplab

#include "backend/cpu/onednn.h"

namespace deeplab::onednn {
namespace {

// Scratch memory is ours to place: it shares the activations' block (graph/memory_plan.h).
dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

void append_activation(dnnl::post_ops& operations, Activation activation) {
  if (activation == Activation::kNone) return;
  const bool relu6 = activation == Activation::kRelu6;
  const auto algorithm = relu6 ? dnnl::algorithm::eltwise_clip : dnnl::algorithm::eltwise_relu;
  const float upper = relu6 ? 6.0f : 0.0f;  // of clip; relu has no second parameter
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(algorithm, 0.0f, upper);
#else
  operations.append_eltwise(1.0f, algorithm, 0.0f, upper);
#endif
}

memory::dims both(int64_t value) { return {value, value}; }

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

// A convolution's window as oneDNN takes it.
struct ConvolutionWindow {
  explicit ConvolutionWindow(const ConvolutionSpec& spec)
      : strides(both(spec.stride)),
        dilates(both(spec.dilation - 1)),  // oneDNN counts the gaps
        before{spec.rows.padding_before, spec.columns.padding_before},
        after{spec.rows.padding_after, spec.columns.padding_after} {}

  const memory::dims strides, dilates, before, after;
};

// The same for pooling, forward and, given that, backward.
dnnl::pooling_forward::primitive_desc describe_pooling(dnnl::prop_kind kind, dnnl::algorithm algorithm,
                                                       const memory::desc& source, const memory::desc& destination,
                                                       const Window& window, const memory::dims& before,
                                                       const memory::dims& after) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),
          kind,
          algorithm,
          source,
          destination,
          both(window.stride),
          both(window.kernel),
          both(window.dilation - 1),
          before,
          after,
          user_scratchpad()};
#else
  const dnnl::pooling_forward::desc description(kind, algorithm, source, destination, both(window.stride),
                                                both(window.kernel), before, after);
  return {description, user_scratchpad(), engine()};
#endif
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

std::mutex& creation_mutex() {
  static std::mutex* const instance = new std::mutex();  // never destroyed: threads may outlive static destructors
  return *instance;
}

dnnl::convolution_forward::primitive_desc describe_convolution(const ConvolutionSpec& spec) {
  dnnl::primitive_attr attributes = user_scratchpad();
  dnnl::post_ops operations;
  if (spec.adds_to_destination) operations.append_sum(1.0f);
  append_activation(operations, spec.activation);
  attributes.set_post_ops(operations);

  const auto kind = spec.training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
  const ConvolutionWindow at(spec);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),         kind,       kDirect,    spec.source, spec.weights, spec.bias,
          spec.destination, at.strides, at.dilates, at.before,   at.after,     attributes};
#else
  const dnnl::convolution_forward::desc description(kind, kDirect, spec.source, spec.weights, spec.bias,
                                                    spec.destination, at.strides, at.dilates, at.before, at.after);
  return {description, attributes, engine()};
#endif
}

dnnl::convolution_backward_data::primitive_desc describe_backward_data(
    const ConvolutionSpec& spec, const dnnl::convolution_forward::primitive_desc& forward) {
  const ConvolutionWindow at(spec);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),   kDirect,   spec.source, spec.weights, spec.destination, at.strides,
          at.dilates, at.before, at.after,    forward,      user_scratchpad()};
#else
  const dnnl::convolution_backward_data::desc description(kDirect, spec.source, spec.weights, spec.destination,
                                                          at.strides, at.dilates, at.before, at.after);
  return {description, user_scratchpad(), engine(), forward};
#endif
}

dnnl::convolution_backward_weights::primitive_desc describe_backward_weights(
    const ConvolutionSpec& spec, const memory::desc& kernel, const memory::desc& bias,
    const dnnl::convolution_forward::primitive_desc& forward) {
  const ConvolutionWindow at(spec);
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),   kDirect,    spec.source, kernel,   bias,    spec.destination,
          at.strides, at.dilates, at.before,   at.after, forward, user_scratchpad()};
#else
  const dnnl::convolution_backward_weights::desc description(kDirect, spec.source, kernel, bias, spec.destination,
                                                             at.strides, at.dilates, at.before, at.after);
  return {description, user_scratchpad(), engine(), forward};
#endif
}

dnnl::pooling_forward::primitive_desc describe_pooling(dnnl::algorithm algorithm, const memory::desc& source,
                                                       const memory::desc& destination, const Window& window,
                                                       const WindowExtent& rows, const WindowExtent& columns) {
  return describe_pooling(dnnl::prop_kind::forward_inference, algorithm, source, destination, window,
                          {rows.padding_before, columns.padding_before}, {rows.padding_after, columns.padding_after});
}

TrainingPooling describe_training_pooling(dnnl::algorithm algorithm, const memory::desc& source,
                                          const memory::desc& destination, const Window& window,
                                          const WindowExtent& rows, const WindowExtent& columns) {
  const memory::dims before{rows.padding_before, columns.padding_before};
  const memory::dims after{rows.padding_after, columns.padding_after};
  auto forward =
      describe_pooling(dnnl::prop_kind::forward_training, algorithm, source, destination, window, before, after);
#if DNNL_VERSION_MAJOR >= 3
  return {forward,
          {engine(), algorithm, source, destination, both(window.stride), both(window.kernel),
           both(window.dilation - 1), before, after, forward, user_scratchpad()}};
#else
  const dnnl::pooling_backward::desc description(algorithm, source, destination, both(window.stride),
                                                 both(window.kernel), before, after);
  return {forward, {description, user_scratchpad(), engine(), forward}};
#endif
}

dnnl::reorder::primitive_desc describe_reorder(const memory::desc& from, const memory::desc& to, bool add) {
  dnnl::primitive_attr attributes = user_scratchpad();
  dnnl::post_ops operations;
  if (add) operations.append_sum(1.0f);
  attributes.set_post_ops(operations);
  return {engine(), from, engine(), to, attributes};
}

dnnl::matmul::primitive_desc describe_matmul(const memory::desc& source, const memory::desc& weights,
                                             const memory::desc& destination) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), source, weights, destination, user_scratchpad()};
#else
  return {dnnl::matmul::desc(source, weights, destination), user_scratchpad(), engine()};
#endif
}

memory::data_type data_type(Precision precision) {
  return precision == Precision::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

std::string version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch);
}

std::string isa_name() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41: return "SSE41";
    case dnnl::cpu_isa::avx: return "AVX";
    case dnnl::cpu_isa::avx2: return "AVX2";
    case dnnl::cpu_isa::avx2_vnni: return "AVX2_VNNI";
    case dnnl::cpu_isa::avx512_core: return "AVX512_CORE";
    case dnnl::cpu_isa::avx512_core_vnni: return "AVX512_CORE_VNNI";
    case dnnl::cpu_isa::avx512_core_bf16: return "AVX512_CORE_BF16";
    case dnnl::cpu_isa::avx512_core_amx: return "AVX512_CORE_AMX";
#if DNNL_VERSION_MAJOR >= 3
    case dnnl::cpu_isa::avx2_vnni_2: return "AVX2_VNNI_2";
    case dnnl::cpu_isa::avx512_core_fp16: return "AVX512_CORE_FP16";
    case dnnl::cpu_isa::avx512_core_amx_fp16: return "AVX512_CORE_AMX_FP16";
#endif
    default: return "DEFAULT";
  }
}

bool has_amx() { return isa_name().find("AMX") != std::string::npos; }

bool has_bf16() {
  const std::string isa = isa_name();
  return isa == "AVX512_CORE_BF16" || isa == "AVX512_CORE_FP16" || has_amx();
}

}  // namespace deeplab::onednn

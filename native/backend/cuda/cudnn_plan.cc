#include "backend/cuda/cudnn_plan.h"

#include <algorithm>

namespace deeplab::cuda {
namespace {

cudnnDataType_t element_type(Precision precision) {
  switch (precision) {
    case Precision::kF16: return CUDNN_DATA_HALF;
    case Precision::kBF16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

// Tensors are aligned as the planned memory is.
constexpr int64_t kAlignment = 16;

// [n,c,h,w] in NHWC; of a kernel [out,in,height,width]. Not in memory if `is_virtual`.
Result<Descriptor> make_tensor(const Cudnn& cudnn, int64_t id, cudnnDataType_t type, const std::vector<int64_t>& dims,
                               bool is_virtual = false) {
  const std::vector<int64_t> strides = {dims[1] * dims[2] * dims[3], 1, dims[1] * dims[3], dims[1]};
  return Builder(&cudnn, CUDNN_BACKEND_TENSOR_DESCRIPTOR)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
      .finalize();
}

// A direction of a convolution, as cuDNN calls its parts.
struct ConvOperation {
  cudnnBackendDescriptorType_t type;
  // Its two operands, and what it computes.
  ConvTensor operands[2];
  cudnnBackendAttributeName_t operand_names[2];
  cudnnBackendAttributeName_t result, convolution, alpha, beta;
};

const ConvOperation& operation_of(ConvDirection direction) {
  static constexpr ConvOperation kForward = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      {kInput, kKernel},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W},
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  static constexpr ConvOperation kData = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      {kGradient, kKernel},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W},
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  static constexpr ConvOperation kFilter = {
      CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      {kInput, kGradient},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  switch (direction) {
    case ConvDirection::kBackwardData: return kData;
    case ConvDirection::kBackwardFilter: return kFilter;
    default: return kForward;
  }
}

// The operations of a graph, one after the other: each takes what the one before gave.
class OperationChain {
 public:
  OperationChain(const Cudnn& cudnn, const ConvSpec& spec) : cudnn_(cudnn), spec_(spec) {}

  Status convolve() {
    const ConvOperation& operation = operation_of(spec_.direction);
    for (const ConvTensor operand : operation.operands) {
      DEEPLAB_RETURN_IF_ERROR(keep(make_tensor(cudnn_, operand, element_type(spec_.precision), dims_of(operand))));
    }
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    DEEPLAB_RETURN_IF_ERROR(
        keep(Builder(&cudnn_, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
                 .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
                 .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, &mode)
                 .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
                 .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {spec_.stride, spec_.stride})
                 .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {spec_.dilation, spec_.dilation})
                 .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {spec_.padding_top, spec_.padding_left})
                 .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {spec_.padding_bottom, spec_.padding_right})
                 .finalize()));
    DEEPLAB_RETURN_IF_ERROR(keep_output());
    const float one = 1, zero = 0;
    return add_operation(Builder(&cudnn_, operation.type)
                             .set(operation.operand_names[0], kept_[0])
                             .set(operation.operand_names[1], kept_[1])
                             .set(operation.convolution, kept_[2])
                             .set(operation.result, kept_.back())
                             .set(operation.alpha, CUDNN_TYPE_FLOAT, &one)
                             .set(operation.beta, CUDNN_TYPE_FLOAT, &zero)
                             .finalize());
  }

  Status add(ConvTensor id, cudnnDataType_t type, const std::vector<int64_t>& dims) {
    const size_t input = kept_.size() - 1;
    DEEPLAB_RETURN_IF_ERROR(keep(make_tensor(cudnn_, id, type, dims)));
    const size_t other = kept_.size() - 1;
    return pointwise(CUDNN_POINTWISE_ADD, input, &other);
  }

  Status relu() { return pointwise(CUDNN_POINTWISE_RELU_FWD, kept_.size() - 1, nullptr); }

  Result<Descriptor> finish() {
    std::vector<cudnnBackendDescriptor_t> operations;
    for (const Descriptor& operation : operations_) operations.push_back(operation.get());
    return Builder(&cudnn_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations.data(),
             static_cast<int64_t>(operations.size()))
        .finalize();
  }

  // How many operations there will be: only the last one's output is in memory.
  void expect(int operations) { expected_ = operations; }

 private:
  Status keep(Result<Descriptor> made) {
    if (!made.ok()) return made.status();
    kept_.push_back(std::move(*made));
    return Status();
  }

  // Of a tensor that all directions have; the bias has another one's.
  std::vector<int64_t> dims_of(ConvTensor tensor) const {
    if (tensor == kInput) return {spec_.n, spec_.in_channels, spec_.in_height, spec_.in_width};
    if (tensor == kKernel) return {spec_.out_channels, spec_.in_channels, spec_.kernel, spec_.kernel};
    return {spec_.n, spec_.out_channels, spec_.out_height, spec_.out_width};
  }

  // Keeps the tensor that the operation under way writes.
  Status keep_output() {
    const bool last = static_cast<int>(operations_.size()) + 1 == expected_;
    // What is not in memory needs a name all the same.
    const int64_t id = last ? kOutput : kOutput + 1 + static_cast<int64_t>(operations_.size());
    switch (spec_.direction) {
      case ConvDirection::kBackwardData:
        return keep(make_tensor(cudnn_, id, element_type(spec_.precision), dims_of(kInput)));
      // Of 16-bit tensors no engine that comes compiled gives f32, on any card.
      case ConvDirection::kBackwardFilter:
        return keep(make_tensor(cudnn_, id, element_type(spec_.precision), dims_of(kKernel)));
      default:
        return keep(
            make_tensor(cudnn_, id, last ? element_type(spec_.precision) : CUDNN_DATA_FLOAT, dims_of(kOutput), !last));
    }
  }

  Status add_operation(Result<Descriptor> made) {
    if (!made.ok()) return made.status();
    operations_.push_back(std::move(*made));
    return Status();
  }

  Status pointwise(cudnnPointwiseMode_t mode, size_t input, const size_t* other) {
    DEEPLAB_RETURN_IF_ERROR(keep(Builder(&cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                                     .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, &mode)
                                     .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
                                     .finalize()));
    const size_t how = kept_.size() - 1;
    DEEPLAB_RETURN_IF_ERROR(keep_output());
    Builder builder(&cudnn_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    builder.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kept_[how])
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, kept_[input])
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, kept_.back());
    if (other != nullptr) builder.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, kept_[*other]);
    return add_operation(builder.finalize());
  }

  const Cudnn& cudnn_;
  const ConvSpec& spec_;
  int expected_ = 1;
  std::vector<Descriptor> kept_;  // what the operations refer to; the last one is a chain's newest tensor
  std::vector<Descriptor> operations_;
};

// Where cuDNN proposes fewer, every engine has its turn.
constexpr size_t kFewConfigs = 8;

// Of an engine: not the same every time; or less exact than the precision says.
bool is_acceptable(const std::vector<cudnnBackendNumericalNote_t>& notes, const ConvSpec& spec) {
  const bool f32 = spec.precision == Precision::kF32;
  return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return true;
      // Of f32 this means tf32, or less.
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return f32;
      default: return false;
    }
  });
}

// Some engines are compiled when they are planned: that takes a compiler library that need not be there, and for each
// plan longer than timing all others. Those that come compiled do every convolution on every card (test/cudnn.test.ts).
bool is_ready(const std::vector<cudnnBackendBehaviorNote_t>& notes) {
  return std::find(notes.begin(), notes.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) == notes.end();
}

// `config` of `engine`, if its results are what the precision promises.
Status append_config(const Descriptor& engine, Descriptor config, const ConvSpec& spec,
                     std::vector<EngineConfig>* configs) {
  EngineConfig result{std::move(config)};
  std::vector<cudnnBackendNumericalNote_t> notes;
  std::vector<cudnnBackendBehaviorNote_t> behaviour;
  DEEPLAB_RETURN_IF_ERROR(engine.read(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, &result.engine));
  DEEPLAB_RETURN_IF_ERROR(engine.read(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, &notes));
  DEEPLAB_RETURN_IF_ERROR(engine.read(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, &behaviour));
  result.tensor_cores = std::find(notes.begin(), notes.end(), CUDNN_NUMERICAL_NOTE_TENSOR_CORE) != notes.end();
  if (is_ready(behaviour) && is_acceptable(notes, spec)) configs->push_back(std::move(result));
  return Status();
}

Status append_configs(const Cudnn& cudnn, const Descriptor& device, const Descriptor& graph, const ConvSpec& spec,
                      cudnnBackendHeurMode_t mode, std::vector<EngineConfig>* configs) {
  auto heuristics = Builder(&cudnn, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
                        .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
                        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &mode)
                        .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device)
                        .finalize();
  if (!heuristics.ok()) return heuristics.status();
  int64_t count = 0;
  DEEPLAB_RETURN_IF_ERROR(cudnn.check(cudnn.get_attribute(heuristics->get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
                                      "the engines"));
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < count; ++i) {
    cudnnBackendDescriptor_t handle = nullptr;
    DEEPLAB_RETURN_IF_ERROR(
        cudnn.check(cudnn.create_descriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &handle), "a descriptor"));
    found.emplace_back(&cudnn, handle);
    handles.push_back(handle);
  }
  DEEPLAB_RETURN_IF_ERROR(cudnn.check(cudnn.get_attribute(heuristics->get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, handles.data()),
                                      "the engines"));
  // There may be fewer in the end than were announced.
  found.resize(std::min(found.size(), static_cast<size_t>(count)));
  for (Descriptor& config : found) {
    cudnnBackendDescriptor_t handle = nullptr;
    DEEPLAB_RETURN_IF_ERROR(
        cudnn.check(cudnn.create_descriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &handle), "a descriptor"));
    const Descriptor engine(&cudnn, handle);
    int64_t one = 1;
    DEEPLAB_RETURN_IF_ERROR(cudnn.check(
        cudnn.get_attribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one, &handle),
        "an engine"));
    DEEPLAB_RETURN_IF_ERROR(append_config(engine, std::move(config), spec, configs));
  }
  return Status();
}

// Each engine that supports the graph, with its default settings. Those that are compiled when they are planned are not
// even asked for them: where that fails, cuDNN 9.24 denies later ones that it had proposed before.
Status append_defaults(const Cudnn& cudnn, const Descriptor& device, const Descriptor& graph, const ConvSpec& spec,
                       std::vector<EngineConfig>* configs) {
  int64_t engines = 0;
  DEEPLAB_RETURN_IF_ERROR(graph.read(CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64, &engines));
  for (int64_t index = 0; index < engines; ++index) {
    auto engine = Builder(&cudnn, CUDNN_BACKEND_ENGINE_DESCRIPTOR)
                      .set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph)
                      .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, index)
                      .set(CUDNN_ATTR_ENGINE_DEVICEPROP, device)
                      .finalize();
    if (!engine.ok()) continue;
    std::vector<cudnnBackendBehaviorNote_t> behaviour;
    DEEPLAB_RETURN_IF_ERROR(engine->read(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, &behaviour));
    if (!is_ready(behaviour)) continue;
    auto config =
        Builder(&cudnn, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).set(CUDNN_ATTR_ENGINECFG_ENGINE, *engine).finalize();
    if (config.ok()) DEEPLAB_RETURN_IF_ERROR(append_config(*engine, std::move(*config), spec, configs));
  }
  return Status();
}

}  // namespace

Result<Descriptor> device_properties(const Cudnn& cudnn, cudnnHandle_t handle) {
  return Builder(&cudnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)
      .set(CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, &handle)
      .finalize();
}

Result<Descriptor> convolution_graph(const Cudnn& cudnn, const ConvSpec& spec) {
  OperationChain chain(cudnn, spec);
  const bool forward = spec.direction == ConvDirection::kForward;
  chain.expect(forward ? 1 + (spec.bias ? 1 : 0) + (spec.residual ? 1 : 0) + (spec.relu ? 1 : 0) : 1);
  DEEPLAB_RETURN_IF_ERROR(chain.convolve());
  if (!forward) return chain.finish();
  if (spec.residual) {
    DEEPLAB_RETURN_IF_ERROR(chain.add(kResidual, element_type(spec.precision),
                                      {spec.n, spec.out_channels, spec.out_height, spec.out_width}));
  }
  if (spec.bias) {
    DEEPLAB_RETURN_IF_ERROR(chain.add(kBias, element_type(spec.precision), {1, spec.out_channels, 1, 1}));
  }
  if (spec.relu) DEEPLAB_RETURN_IF_ERROR(chain.relu());
  return chain.finish();
}

Result<std::vector<EngineConfig>> engine_configs(const Cudnn& cudnn, const Descriptor& device, const Descriptor& graph,
                                                 const ConvSpec& spec) {
  std::vector<EngineConfig> configs;
  const Status proposed = append_configs(cudnn, device, graph, spec, CUDNN_HEUR_MODE_A, &configs);
  const Status fallback = append_configs(cudnn, device, graph, spec, CUDNN_HEUR_MODE_FALLBACK, &configs);
  // For some convolutions (3x3 from 512 to 1024 channels at rate 12, on an H200) the heuristics know of hardly
  // anything.
  if (configs.size() < kFewConfigs) {
    DEEPLAB_RETURN_IF_ERROR(append_defaults(cudnn, device, graph, spec, &configs));
  }
  if (configs.empty() && !proposed.ok()) return proposed;
  if (configs.empty() && !fallback.ok()) return fallback;
  return Result<std::vector<EngineConfig>>(std::move(configs));
}

Result<Descriptor> make_plan(const Cudnn& cudnn, const Descriptor& device, const EngineConfig& config) {
  return Builder(&cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.descriptor)
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device)
      .finalize();
}

Result<int64_t> plan_workspace_bytes(const Descriptor& plan) {
  int64_t bytes = 0;
  DEEPLAB_RETURN_IF_ERROR(plan.read(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &bytes));
  return bytes;
}

Result<std::string> write_plan(const Descriptor& plan) {
  std::vector<char> text;
  DEEPLAB_RETURN_IF_ERROR(plan.read(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, &text));
  return std::string(text.begin(), std::find(text.begin(), text.end(), '\0'));
}

Result<Descriptor> read_plan(const Cudnn& cudnn, const Descriptor& device, const std::string& json) {
  return Builder(&cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device)
      .set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, json.c_str(),
           static_cast<int64_t>(json.size()) + 1)
      .finalize();
}

}  // namespace deeplab::cuda

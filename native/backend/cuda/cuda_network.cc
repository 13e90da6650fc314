#include "backend/cuda/cuda_network.h"

#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/element.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "the network at this image size";
// That cuDNN may write over a residual that it still reads is not promised.
constexpr ResidualMemory kResiduals = ResidualMemory::kKept;

bool is_logits(const Op& op) {
  return std::holds_alternative<ShiftedAdd>(op) || std::holds_alternative<FuseLogits>(op) ||
         std::holds_alternative<GivenLogits>(op);
}

// Channels of a node's output in memory. Logits are for the head alone, and not filled up.
int64_t stored_channels(const Op& op, const Shape& shape, Precision precision) {
  if (std::holds_alternative<Normalize>(op) || std::holds_alternative<Resize>(op)) return image_channels(precision);
  if (is_logits(op)) return shape.c;
  return padded_channels(shape.c);
}

size_t activation_bytes(const Op& op, const Shape& shape, Precision precision) {
  if (!makes_activation(op)) return 0;
  const size_t element = is_logits(op) ? sizeof(float) : element_bytes(precision);
  return shape.n * shape.h * shape.w * stored_channels(op, shape, precision) * element;
}

bool is_relu6(const Op& op) {
  const auto* conv = std::get_if<Conv2d>(&op);
  return conv != nullptr && !conv->depthwise && conv->activation == Activation::kRelu6;
}

// For each node, whether it leaves ReLU6's upper bound to its readers: a depthwise convolution is our own kernel, and
// all that MobileNetV2 has behind such a layer. By itself the bound costs a pass over the memory.
std::vector<bool> bounded_by_readers(const Graph& graph) {
  std::vector<bool> result;
  for (const Node& node : graph.nodes) result.push_back(is_relu6(node.op));
  for (const Node& node : graph.nodes) {
    const auto* conv = std::get_if<Conv2d>(&node.op);
    if (conv != nullptr && conv->depthwise) continue;
    for (const NodeId input : node.inputs) result[input] = false;
  }
  return result;
}

// One overload for each operation that can stand in an optimized graph.
struct CompileStep {
  const LayerCompiler& compiler;
  const Graph& graph;
  const std::vector<Shape>& shapes;
  const std::vector<bool>& bounded_by_readers;
  const NodeId id;
  const Node& node;
  const Shape& output;

  const Shape& input(int i) const { return shapes[node.inputs[i]]; }
  // As they are in memory.
  int64_t in_channels(int i = 0) const {
    return stored_channels(graph.nodes[node.inputs[i]].op, input(i), compiler.precision);
  }
  std::vector<Shape> inputs() const {
    std::vector<Shape> all;
    for (const NodeId input : node.inputs) all.push_back(shapes[input]);
    return all;
  }

  Result<Step> operator()(const Image&) const { return Step{"input", 0, false, 0, nullptr}; }
  Result<Step> operator()(const Normalize& op) const { return compile_normalize(compiler, op, input(0)); }
  Result<Step> operator()(const Conv2d& op) const {
    if (op.depthwise) {
      const bool bounds_input = bounded_by_readers[node.inputs[0]];
      return compile_depthwise(compiler, op, input(0), in_channels(), output, bounds_input);
    }
    auto step = compile_convolution(compiler, node.name, op, input(0), in_channels(), output);
    if (!step.ok() || !is_relu6(op) || bounded_by_readers[id]) return step;
    return bounded(compiler, std::move(*step), output);
  }
  Result<Step> operator()(const MaxPool& op) const {
    return compile_max_pool(compiler, op, input(0), in_channels(), output);
  }
  Result<Step> operator()(const AveragePool& op) const {
    return compile_average_pool(compiler, op, input(0), in_channels(), output);
  }
  Result<Step> operator()(const GlobalAveragePool&) const {
    return compile_global_average_pool(compiler, input(0), in_channels());
  }
  Result<Step> operator()(const Concat&) const {
    std::vector<int64_t> channels;
    for (size_t i = 0; i < node.inputs.size(); ++i) channels.push_back(in_channels(static_cast<int>(i)));
    return compile_concat(compiler, inputs(), channels, output);
  }
  Result<Step> operator()(const AtrousTaps& op) const {
    return compile_atrous_taps(compiler, node.name, op, input(0), in_channels(), output);
  }
  Result<Step> operator()(const ShiftedAdd& op) const { return compile_shifted_add(compiler, op, input(0), output); }
  Result<Step> operator()(const Resize& op) const { return compile_resize(compiler, op, input(0), output); }
  Result<Step> operator()(const FuseLogits& op) const { return compile_fuse_logits(compiler, op, inputs()); }
  Result<Step> operator()(const GivenLogits&) const { return compile_given_logits(output); }
  // The executable does the head, when it knows what is wanted.
  Result<Step> operator()(const deeplab::SegmentationHead&) const { return Step{"kernel", 0, false, 0, nullptr}; }
  Result<Step> operator()(const BatchNorm&) const { return not_fused(); }
  Result<Step> operator()(const Activate&) const { return not_fused(); }
  Result<Step> operator()(const Add&) const { return not_fused(); }

  Status not_fused() const {
    return error(Code::kInternal, "layer ", node.name, ": the CUDA backend runs ", op_name(node.op), " only fused");
  }
};

}  // namespace

Result<std::unique_ptr<Network>> CudaNetwork::create(int index, std::shared_ptr<const Safetensors> file,
                                                     Precision precision, const MakeCompiler& make_compiler) {
  DEEPLAB_RETURN_IF_ERROR(select_device(index));
  std::unique_ptr<CudaNetwork> network(new CudaNetwork(precision));
  NetworkDevice& device = *network->device_;
  device.index = index;
  for (OwnedStream* stream : {&device.compute, &device.upload, &device.download}) {
    DEEPLAB_RETURN_IF_ERROR(stream->create());
  }
  auto compiler = make_compiler(device.compute.get());
  if (!compiler.ok()) return compiler.status();
  network->convolutions_ = std::move(*compiler);
  network->weights_ = std::make_unique<DeviceWeights>(std::move(file), precision, device.compute.get());
  return std::unique_ptr<Network>(std::move(network));
}

Result<std::unique_ptr<Executable>> CudaNetwork::compile(const Graph& graph, const Shape& image,
                                                         const std::atomic<bool>& cancelled) {
  if (!device_->broken.ok()) return device_->broken;
  DEEPLAB_RETURN_IF_ERROR(select_device(device_->index));
  auto shapes = infer_shapes(graph, image);
  if (!shapes.ok()) return shapes.status();
  NodeBytes bytes;
  bytes.scratch.resize(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    bytes.output.push_back(activation_bytes(graph.nodes[id].op, (*shapes)[id], precision_));
  }
  // Before cuDNN is asked about an image that could never be computed. What is there already is used again.
  const size_t least = plan_network_memory(graph, bytes, kResiduals).bytes;
  if (least > device_->arena.size()) {
    DEEPLAB_RETURN_IF_ERROR(check_device_memory(least - device_->arena.size(), kPurpose));
  }
  const LayerCompiler compiler{*convolutions_, *weights_, precision_, device_->compute.get()};
  const std::vector<bool> by_readers = bounded_by_readers(graph);
  CompiledNetwork network;
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return error(Code::kAborted, "the network's compilation was aborted");
    }
    const Node& node = graph.nodes[id];
    auto step = std::visit(
        CompileStep{compiler, graph, *shapes, by_readers, static_cast<NodeId>(id), node, (*shapes)[id]}, node.op);
    if (!step.ok()) return step.status();
    bytes.scratch[id] = step->scratch_bytes;
    network.reads_pixels = network.reads_pixels || std::holds_alternative<Normalize>(node.op);
    if (std::holds_alternative<GivenLogits>(node.op)) network.given_logits = (*shapes)[id].elements();
    network.names.push_back(node.name);
    network.steps.push_back(std::move(*step));
  }
  weights_->release_pages();

  network.memory = plan_network_memory(graph, bytes, kResiduals);

  const Node& head = graph.nodes.back();
  network.logits_offset = network.memory.steps.back().inputs[0];
  const auto& head_op = std::get<deeplab::SegmentationHead>(head.op);
  auto made = SegmentationHead::create(device_->compute.get(), head_op, (*shapes)[head.inputs[0]], image);
  if (!made.ok()) return made.status();
  network.head = *made;
  return make_executable(std::move(network), image, device_);
}

}  // namespace deeplab::cuda

#include "backend/cpu/cpu_network.h"

#include <omp.h>

#include <mutex>

#include "backend/cpu/compiled_network.h"
#include "backend/cpu/convolution.h"
#include "backend/cpu/dense_crf.h"
#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/winograd.h"
#include "core/process_exit.h"
#include "core/threads.h"
#include "graph/memory_plan.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

// One overload for each operation that can stand in an optimized graph.
struct CompileStep {
  const LayerCompiler& compiler;
  const std::vector<Shape>& shapes;
  const Node& node;
  const Shape& output;

  const Shape& input(int i) const { return shapes[node.inputs[i]]; }
  std::vector<Shape> inputs() const {
    std::vector<Shape> all;
    for (const NodeId id : node.inputs) all.push_back(shapes[id]);
    return all;
  }

  Result<Step> operator()(const Image&) const { return Step{"input", 0, nullptr}; }
  Result<Step> operator()(const Normalize& op) const {
    return compile_normalize(op, input(0), compiler.options.precision);
  }
  Result<Step> operator()(const Conv2d& op) const {
    if (prefers_winograd(compiler, op, output)) return compile_winograd(compiler, op, input(0), output);
    return compile_convolution(compiler, op, input(0), output);
  }
  Result<Step> operator()(const MaxPool& op) const {
    return compile_pooling(compiler, dnnl::algorithm::pooling_max, op.window, input(0), output);
  }
  Result<Step> operator()(const AveragePool& op) const {
    return compile_pooling(compiler, dnnl::algorithm::pooling_avg_include_padding, op.window, input(0), output);
  }
  Result<Step> operator()(const GlobalAveragePool&) const {
    return compile_global_average_pool(input(0), compiler.options.precision);
  }
  Result<Step> operator()(const Concat&) const { return compile_concat(inputs(), output, compiler.options.precision); }
  Result<Step> operator()(const AtrousTaps& op) const { return compile_atrous_taps(compiler, op, input(0), output); }
  Result<Step> operator()(const ShiftedAdd& op) const { return compile_shifted_add(op, output); }
  Result<Step> operator()(const Resize& op) const {
    return compile_resize(op, input(0), output, compiler.options.precision);
  }
  Result<Step> operator()(const FuseLogits& op) const { return compile_fuse_logits(op, inputs()); }
  Result<Step> operator()(const GivenLogits&) const { return compile_given_logits(output); }
  Result<Step> operator()(const SegmentationHead& op) const {
    return compile_segmentation_head(op, input(0), input(1), compiler.options.threads);
  }
  Result<Step> operator()(const BatchNorm&) const { return not_fused(); }
  Result<Step> operator()(const Activate&) const { return not_fused(); }
  Result<Step> operator()(const Add&) const { return not_fused(); }

  Status not_fused() const {
    return error(Code::kInternal, "layer ", node.name, ": the CPU backend runs ", op_name(node.op), " only fused");
  }
};

// Bytes of a node's output in the arena. Logits and the products they are summed from are f32 in every precision.
size_t activation_bytes(const Op& op, const Shape& shape, Precision precision) {
  if (!makes_activation(op)) return 0;
  const bool f32 = precision == Precision::kF32 || std::holds_alternative<AtrousTaps>(op) ||
                   std::holds_alternative<ShiftedAdd>(op) || std::holds_alternative<FuseLogits>(op) ||
                   std::holds_alternative<GivenLogits>(op);
  return shape.elements() * (f32 ? sizeof(float) : sizeof(uint16_t));
}

Status run_aborted() { return error(Code::kAborted, "the inference was aborted"); }
Status compilation_aborted() { return error(Code::kAborted, "the network's compilation was aborted"); }

class CpuExecutable : public Executable {
 public:
  CpuExecutable(CompiledNetwork network, const Shape& image, std::shared_ptr<Arena> arena,
                std::shared_ptr<WeightsInUse> weights, int threads)
      : network_(std::move(network)),
        image_(image),
        classes_(network_.logits.c),
        arena_(std::move(arena)),
        weights_(std::move(weights)),
        threads_(threads) {
    arena_->add(network_.memory_bytes);
    for (const Step& step : network_.steps) weights_->add(step.weights);
  }
  ~CpuExecutable() override {
    arena_->remove(network_.memory_bytes);
    for (const Step& step : network_.steps) weights_->remove(step.weights);
  }

  Status start(const RunInput& input, const RunOutput& output, const std::atomic<bool>& cancelled) override {
    const CoreLease cores(threads_, cancelled);
    if (!cores.held()) return run_aborted();
    omp_set_num_threads(threads_);
    if (input.crf == nullptr) return run_steps(input, output, nullptr, cancelled);
    Array<float> unary;
    const size_t floats = image_.n * image_.h * image_.w * row_stride(classes_);
    DEEPLAB_RETURN_IF_ERROR(check_memory(floats * sizeof(float), "the CRF's unary potentials"));
    DEEPLAB_RETURN_IF_ERROR(unary.allocate(floats));
    DEEPLAB_RETURN_IF_ERROR(run_steps(input, output, unary.data(), cancelled));
    return run_crf(input, output, unary.data(), cancelled);
  }
  Status finish() override { return Status(); }
  bool overlaps() const override { return false; }

  std::vector<LayerImplementation> layers() const override { return network_.layers; }

 private:
  Status run_steps(const RunInput& input, const RunOutput& output, float* unary, const std::atomic<bool>& cancelled) {
    auto arena = arena_->acquire(network_.memory_bytes);
    if (!arena.ok()) return arena.status();
    try {
      for (size_t i = 0; i < network_.steps.size(); ++i) {
        if (!network_.steps[i].run) continue;
        for (int64_t n = 0; n < image_.n; ++n) {
          if (cancelled.load(std::memory_order_relaxed)) return run_aborted();
          const RunInput its_input = input_of(n, input);
          const RunOutput its_output = output_of(n, output);
          float* its_unary = unary == nullptr ? nullptr : unary + n * image_.h * image_.w * row_stride(classes_);
          network_.steps[i].run({stream_, *arena, its_input, its_output, its_unary}, network_.memory[n][i]);
        }
      }
      stream_.wait();
    } catch (const dnnl::error& failure) {
      return error(Code::kInternal, "oneDNN: ", failure.what());
    }
    return Status();
  }

  Status run_crf(const RunInput& input, const RunOutput& output, const float* unary,
                 const std::atomic<bool>& cancelled) const {
    const Shape one{1, image_.c, image_.h, image_.w};
    const int64_t points = image_.h * image_.w;
    for (int64_t n = 0; n < image_.n; ++n) {
      auto crf = DenseCrf::build(one, input_of(n, input).pixels, input.crf->model, threads_, cancelled);
      if (!crf.ok()) return crf.status();
      const RunOutput its = output_of(n, output);
      DEEPLAB_RETURN_IF_ERROR((*crf)->infer_rows(unary + n * points * row_stride(classes_), classes_,
                                                 input.crf->inference, {its.labels, its.scores, nullptr}, cancelled));
    }
    return Status();
  }

  // The part of image `n`.
  RunInput input_of(int64_t n, const RunInput& all) const {
    RunInput one = all;
    if (all.pixels != nullptr) one.pixels += n * image_.c * image_.h * image_.w;
    if (all.logits != nullptr) one.logits += n * network_.logits.elements();
    return one;
  }
  RunOutput output_of(int64_t n, const RunOutput& all) const {
    RunOutput one = all;
    if (all.labels != nullptr) one.labels += n * image_.h * image_.w;
    if (all.scores != nullptr) one.scores += n * classes_ * image_.h * image_.w;
    if (all.logits != nullptr) one.logits += n * network_.logits.elements();
    return one;
  }

  CompiledNetwork network_;
  Shape image_;
  int64_t classes_;
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<WeightsInUse> weights_;
  int threads_;
  dnnl::stream stream_{onednn::engine()};
};

}  // namespace

Result<CompiledNetwork> CpuNetwork::compile_steps(const Graph& graph, const Shape& image,
                                                  const std::atomic<bool>& cancelled) {
  auto shapes = infer_shapes(graph, {1, image.c, image.h, image.w});
  if (!shapes.ok()) return shapes.status();
  std::vector<size_t> image_bytes;  // of each node's output, of one image
  NodeBytes bytes;
  bytes.scratch.resize(graph.nodes.size());
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    const size_t output = activation_bytes(graph.nodes[id].op, (*shapes)[id], options_.precision);
    image_bytes.push_back(round_up(output, AlignedBuffer::kAlignment));
    bytes.output.push_back(image_bytes.back() * image.n);
  }
  // Before oneDNN is asked about an image that could never be computed: some sizes it divides by zero.
  const size_t least = plan_network_memory(graph, bytes, ResidualMemory::kOverwritten).bytes;
  DEEPLAB_RETURN_IF_ERROR(arena_->check(least));

  const CoreLease cores(options_.threads, cancelled);
  if (!cores.held()) return compilation_aborted();
  omp_set_num_threads(options_.threads);  // oneDNN cuts its work for the number of threads it sees now

  CompiledNetwork network;
  const LayerCompiler compiler{*file_, *weights_, options_};
  for (size_t id = 0; id < graph.nodes.size(); ++id) {
    if (cancelled.load(std::memory_order_relaxed)) return compilation_aborted();
    expect_exit();  // oneDNN constructs static objects as it meets new kinds of layers
    const Node& node = graph.nodes[id];
    try {
      const std::lock_guard<std::mutex> lock(onednn::creation_mutex());
      auto step = std::visit(CompileStep{compiler, *shapes, node, (*shapes)[id]}, node.op);
      if (!step.ok()) return step.status();
      bytes.scratch[id] = step->scratch_bytes;
      network.layers.push_back({node.name, step->implementation});
      network.steps.push_back(std::move(*step));
    } catch (const dnnl::error& failure) {
      return error(Code::kInternal, "layer ", node.name, ": oneDNN: ", failure.what());
    }
  }
  file_->release_pages();
  network.logits = (*shapes)[logits_of(graph)];

  NetworkMemory memory = plan_network_memory(graph, bytes, ResidualMemory::kOverwritten);
  network.memory_bytes = memory.bytes;
  for (int64_t n = 0; n < image.n; ++n) {
    network.memory.push_back(memory.steps);
    for (size_t id = 0; id < graph.nodes.size(); ++id) {
      const std::vector<NodeId>& inputs = graph.nodes[id].inputs;
      memory.steps[id].output += image_bytes[id];
      for (size_t i = 0; i < inputs.size(); ++i) memory.steps[id].inputs[i] += image_bytes[inputs[i]];
    }
  }
  return network;
}

Result<std::unique_ptr<Executable>> CpuNetwork::compile(const Graph& graph, const Shape& image,
                                                        const std::atomic<bool>& cancelled) {
  auto network = compile_steps(graph, image, cancelled);
  if (!network.ok()) return network.status();
  auto executable =
      std::make_unique<CpuExecutable>(std::move(*network), image, arena_, weights_in_use_, options_.threads);
  return std::unique_ptr<Executable>(std::move(executable));
}

}  // namespace deeplab

#include "backend/cuda/cudnn_convolution.h"

#include <algorithm>

#include "backend/cuda/element.h"

namespace deeplab::cuda {
namespace {

// More than that, and a plan is not looked at.
constexpr int64_t kMostWorkspace = int64_t{1} << 30;
// Plans that are timed of those that cuDNN proposes, its best guesses first; its guess is rarely the best, but the best
// is rarely far behind.
constexpr size_t kMostTimed = 24;
// Executions that are timed as one graph, and how often.
constexpr int kExecutions = 4;
constexpr int kRepetitions = 5;

// Numbers from -1 to 1 without a pattern: a matrix product of zeros, or of equal numbers, is faster than one of real
// ones.
template <typename T>
struct FillKernel {
  T* output;

  DEEPLAB_INLINE void operator()(int64_t i) const {
    auto bits = static_cast<uint32_t>(i) * 2654435761u;
    bits = (bits ^ (bits >> 15)) * 2246822519u;
    output[i] = from_float<T>(static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f);
  }
};

// Memory for a convolution that is timed.
class TrialMemory {
 public:
  Status allocate(Stream stream, const ConvSpec& spec, int64_t workspace) {
    const bool forward = spec.direction == ConvDirection::kForward;
    const bool reads_input = spec.direction != ConvDirection::kBackwardData;
    const bool reads_kernel = spec.direction != ConvDirection::kBackwardFilter;
    const auto fill_random = [&](int64_t count, DeviceBuffer* buffer) -> Status {
      DEEPLAB_RETURN_IF_ERROR(buffer->allocate(count * element_bytes(spec.precision), kPurpose));
      return with_element(spec.precision, [&](auto element) {
        return launch(stream, count, FillKernel<decltype(element)>{buffer->as<decltype(element)>()});
      });
    };
    if (reads_input) DEEPLAB_RETURN_IF_ERROR(fill_random(spec.input_elements(), &input_));
    if (reads_kernel) DEEPLAB_RETURN_IF_ERROR(fill_random(spec.kernel_elements(), &kernel_));
    if (forward && spec.bias) DEEPLAB_RETURN_IF_ERROR(fill_random(spec.out_channels, &bias_));
    if (forward && spec.residual) DEEPLAB_RETURN_IF_ERROR(fill_random(spec.output_elements(), &residual_));
    if (!forward) DEEPLAB_RETURN_IF_ERROR(fill_random(spec.output_elements(), &gradient_));
    const int64_t computed =
        forward ? spec.output_elements() : (reads_kernel ? spec.input_elements() : spec.kernel_elements());
    DEEPLAB_RETURN_IF_ERROR(output_.allocate(computed * element_bytes(spec.precision), kPurpose));
    return workspace_.allocate(workspace, kPurpose);
  }

  ConvArguments arguments() const {
    return {input_.data(),    kernel_.data(), bias_.data(),     residual_.data(),
            gradient_.data(), output_.data(), workspace_.data()};
  }

 private:
  static constexpr const char* kPurpose = "timing a convolution";
  DeviceBuffer input_, kernel_, bias_, residual_, gradient_, output_, workspace_;
};

class CudnnConvolution : public Convolution {
 public:
  CudnnConvolution(const Cudnn& cudnn, std::shared_ptr<cudnnContext> handle, Descriptor plan, int64_t workspace,
                   std::string implementation, double milliseconds, bool cached)
      : cudnn_(cudnn),
        handle_(std::move(handle)),
        plan_(std::move(plan)),
        workspace_(workspace),
        implementation_(std::move(implementation)),
        milliseconds_(milliseconds),
        cached_(cached) {}

  size_t workspace_bytes() const override { return workspace_; }
  std::string implementation() const override { return implementation_; }
  double milliseconds() const override { return milliseconds_; }
  bool cached() const override { return cached_; }

  Status run(Stream stream, const ConvArguments& arguments) const override {
    return execute(cudnn_, handle_.get(), plan_, stream, arguments);
  }

  static Status execute(const Cudnn& cudnn, cudnnHandle_t handle, const Descriptor& plan, Stream stream,
                        const ConvArguments& arguments) {
    std::vector<int64_t> ids;
    std::vector<const void*> memory;
    const std::pair<ConvTensor, const void*> tensors[] = {
        {kInput, arguments.input},       {kKernel, arguments.kernel},     {kBias, arguments.bias},
        {kResidual, arguments.residual}, {kGradient, arguments.gradient}, {kOutput, arguments.output}};
    for (const auto& [id, data] : tensors) {
      if (data == nullptr) continue;
      ids.push_back(id);
      memory.push_back(data);
    }
    auto pack = Builder(&cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
                    .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
                    .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, memory.data(),
                         static_cast<int64_t>(memory.size()))
                    .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, &arguments.workspace)
                    .finalize();
    if (!pack.ok()) return pack.status();
    DEEPLAB_RETURN_IF_ERROR(cudnn.check(cudnn.set_stream(handle, stream), "a convolution's stream"));
    return cudnn.check(cudnn.execute(handle, plan.get(), pack->get()), "a convolution");
  }

 private:
  const Cudnn& cudnn_;
  const std::shared_ptr<cudnnContext> handle_;
  const Descriptor plan_;
  const int64_t workspace_;
  const std::string implementation_;
  const double milliseconds_;
  const bool cached_;
};

// Of one execution, replayed as part of a graph, as it will be: so a plan that cannot be recorded is not chosen. Gives
// up on a plan that is far slower than `limit`.
Result<double> time_plan(const Cudnn& cudnn, cudnnHandle_t handle, const Descriptor& plan, Stream stream,
                         const ConvArguments& arguments, double limit) {
  const auto execute = [&] { return CudnnConvolution::execute(cudnn, handle, plan, stream, arguments); };
  DEEPLAB_RETURN_IF_ERROR(execute());  // loads its kernels
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream));
  CapturedGraph graph;
  DEEPLAB_RETURN_IF_ERROR(CapturedGraph::begin(stream));
  Status recorded;
  for (int i = 0; i < kExecutions && recorded.ok(); ++i) recorded = execute();
  DEEPLAB_RETURN_IF_ERROR(graph.end(stream));
  DEEPLAB_RETURN_IF_ERROR(recorded);
  Event begin, end;
  DEEPLAB_RETURN_IF_ERROR(begin.create());
  DEEPLAB_RETURN_IF_ERROR(end.create());
  std::vector<double> times;
  for (int i = 0; i < kRepetitions; ++i) {
    DEEPLAB_RETURN_IF_ERROR(begin.record(stream));
    DEEPLAB_RETURN_IF_ERROR(graph.launch(stream));
    DEEPLAB_RETURN_IF_ERROR(end.record(stream));
    DEEPLAB_RETURN_IF_ERROR(end.synchronize());
    times.push_back(begin.milliseconds_until(end) / kExecutions);
    if (times.back() > 2 * limit) break;
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

// A plan, and what the cache keeps of it.
struct CudnnCompiler::Candidate {
  Descriptor plan;
  int64_t workspace = 0;
  CachedPlan cached;
};

Result<std::unique_ptr<ConvolutionCompiler>> CudnnCompiler::create(const Cudnn& cudnn, Stream stream, PlanCache cache) {
  std::unique_ptr<CudnnCompiler> compiler(new CudnnCompiler(cudnn, stream, std::move(cache)));
  cudnnHandle_t handle = nullptr;
  DEEPLAB_RETURN_IF_ERROR(cudnn.check(cudnn.create(&handle), "starting on the GPU"));
  compiler->handle_ = std::shared_ptr<cudnnContext>(handle, cudnn.destroy);
  auto device = device_properties(cudnn, handle);
  if (!device.ok()) return device.status();
  compiler->device_ = std::move(*device);
  return std::unique_ptr<ConvolutionCompiler>(std::move(compiler));
}

CudnnCompiler::~CudnnCompiler() = default;

Result<CudnnCompiler::Candidate> CudnnCompiler::read(CachedPlan cached) const {
  auto plan = read_plan(cudnn_, device_, cached.json);
  if (!plan.ok()) return plan.status();
  auto workspace = plan_workspace_bytes(*plan);
  if (!workspace.ok()) return workspace.status();
  return Candidate{std::move(*plan), *workspace, std::move(cached)};
}

// By way of its text, so that what is timed is what the cache will give.
Result<CudnnCompiler::Candidate> CudnnCompiler::make(const EngineConfig& config) const {
  auto plan = make_plan(cudnn_, device_, config);
  if (!plan.ok()) return plan.status();
  auto json = write_plan(*plan);
  if (!json.ok()) return json.status();
  return read({config.engine, 0, std::move(*json)});
}

Result<std::vector<CudnnCompiler::Candidate>> CudnnCompiler::candidates(const ConvSpec& spec) const {
  auto graph = convolution_graph(cudnn_, spec);
  if (!graph.ok()) return graph.status();
  auto configs = engine_configs(cudnn_, device_, *graph, spec);
  if (!configs.ok()) return configs.status();
  Status last = error(Code::kUnsupportedModel, "cuDNN ", cudnn_.version, " has no engine for it: ", to_string(spec));
  std::vector<Candidate> candidates;
  for (const EngineConfig& config : *configs) {
    if (candidates.size() == kMostTimed) break;
    auto candidate = make(config);
    if (!candidate.ok()) {
      last = candidate.status();
    } else if (candidate->workspace <= kMostWorkspace) {
      candidates.push_back(std::move(*candidate));
    }
  }
  if (candidates.empty()) return last;
  return Result<std::vector<Candidate>>(std::move(candidates));
}

Result<CudnnCompiler::Candidate> CudnnCompiler::fastest(const ConvSpec& spec) const {
  auto found = candidates(spec);
  if (!found.ok()) return found.status();
  const auto [least, most] = std::minmax_element(
      found->begin(), found->end(), [](const auto& a, const auto& b) { return a.workspace < b.workspace; });
  // Where the neediest plan's workspace is not to be had, those that need least have their turn.
  int64_t workspace = most->workspace;
  TrialMemory memory;
  Status allocated = memory.allocate(stream_, spec, workspace);
  if (allocated.code() == Code::kOutOfMemory) {
    workspace = least->workspace;
    allocated = memory.allocate(stream_, spec, workspace);
  }
  DEEPLAB_RETURN_IF_ERROR(allocated);
  Candidate* best = nullptr;
  Status last;
  for (Candidate& candidate : *found) {
    if (candidate.workspace > workspace) continue;
    const double limit = best == nullptr ? 1e9 : best->cached.milliseconds;
    auto time = time_plan(cudnn_, handle_.get(), candidate.plan, stream_, memory.arguments(), limit);
    if (!time.ok()) last = time.status();
    if (!time.ok() || *time >= limit) continue;
    candidate.cached.milliseconds = *time;
    best = &candidate;
  }
  if (best == nullptr) return last;
  return std::move(*best);
}

Result<std::shared_ptr<const Convolution>> CudnnCompiler::compile(const ConvSpec& spec) {
  const std::string key = to_string(spec);
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  const auto cached = cache_.find(key);
  Result<Candidate> plan = cached ? read(*cached) : error(Code::kNotFound, "not in the cache");
  const bool was_cached = plan.ok();
  if (!was_cached) plan = fastest(spec);
  if (!plan.ok()) return plan.status();
  if (!was_cached) cache_.store(key, plan->cached);
  const auto convolution = std::make_shared<CudnnConvolution>(cudnn_, handle_, std::move(plan->plan), plan->workspace,
                                                              "cudnn engine " + std::to_string(plan->cached.engine),
                                                              plan->cached.milliseconds, was_cached);
  known_[key] = convolution;
  return std::shared_ptr<const Convolution>(convolution);
}

}  // namespace deeplab::cuda

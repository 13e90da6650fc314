// Runs of one network that overlap, follow each other in every size, are cancelled or are too large: each gives what it
// gives alone, bit for bit.

#include <sys/mman.h>

#include <algorithm>

#include "comparison.h"
#include "device_run.h"
#include "graph/deeplab.h"
#include "graph/passes.h"
#include "random_network.h"

namespace deeplab {
namespace {

// A network loaded on the device under test.
struct Loaded {
  std::shared_ptr<Network> network;
  Graph graph;  // optimized
  uint64_t seed = 0;
  CrfParameters crf;

  Result<Compiled> compile_for(const Shape& image) const { return compile(network, graph, image); }
  // Of a graph with GivenLogits; else empty.
  std::vector<float> given(const Shape& image, uint64_t number) const {
    return random_logits(graph, image, seed + number);
  }
  std::vector<uint8_t> picture(const Shape& image, uint64_t number) const {
    return random_picture(image, seed_of(seed, std::to_string(number)));
  }
};

// -> how many outputs were not what they ought to be.
using Check = std::function<Result<int>(const Loaded&, const std::vector<Shape>& sizes)>;

constexpr int kPictures = 4;

// `count` executables, by turns of `images`, always one run behind: start, start, finish, start, finish, ..., finish.
// Compared with the same runs alone, on executables of their own.
Result<int> overlap(const Loaded& loaded, const std::vector<Shape>& images, const CrfParameters* crf) {
  constexpr int kRuns = 6;
  std::vector<Compiled> compiled;
  std::vector<std::vector<uint8_t>> pictures;
  std::vector<Outputs> alone, overlapped(kRuns);
  for (const Shape& image : images) {
    auto executable = loaded.compile_for(image);
    if (!executable.ok()) return executable.status();
    compiled.push_back(std::move(*executable));
  }
  for (int i = 0; i < kRuns; ++i) {
    const Shape& image = images[i % images.size()];
    pictures.push_back(loaded.picture(image, i % kPictures));
    auto fresh = loaded.compile_for(image);
    if (!fresh.ok()) return fresh.status();
    auto outputs = fresh->run(pictures[i], crf, loaded.given(image, i));
    if (!outputs.ok()) return outputs.status();
    alone.push_back(std::move(*outputs));
  }
  for (int i = 0; i <= kRuns; ++i) {
    if (i < kRuns) {
      DEEPLAB_RETURN_IF_ERROR(compiled[i % images.size()].start(pictures[i], &overlapped[i], crf,
                                                                loaded.given(images[i % images.size()], i)));
    }
    if (i > 0) {
      DEEPLAB_RETURN_IF_ERROR(compiled[(i - 1) % images.size()].finish(overlapped[i - 1]));
    }
  }
  int wrong = 0;
  for (int i = 0; i < kRuns; ++i) wrong += overlapped[i] == alone[i] ? 0 : 1;
  return wrong;
}

Result<int> repeat(const Loaded& loaded, const Shape& image, const CrfParameters* crf) {
  auto compiled = loaded.compile_for(image);
  if (!compiled.ok()) return compiled.status();
  const std::vector<uint8_t> picture = loaded.picture(image, 0);
  auto first = compiled->run(picture, crf, loaded.given(image, 0));
  if (!first.ok()) return first.status();
  int wrong = 0;
  for (int i = 0; i < 5; ++i) {
    auto between = compiled->run(loaded.picture(image, i + 1), crf, loaded.given(image, i + 1));
    if (!between.ok()) return between.status();
    auto again = compiled->run(picture, crf, loaded.given(image, 0));
    if (!again.ok()) return again.status();
    wrong += *again == *first ? 0 : 1;
  }
  return wrong;
}

// Executables of many sizes, some gone before the next comes, then those that are left once more.
Result<int> many_sizes(const Loaded& loaded, const std::vector<Shape>& images) {
  std::vector<Compiled> kept;
  std::vector<Outputs> first;
  for (int turn = 0; turn < 8; ++turn) {
    Shape image = images[turn % images.size()];
    image.h += turn, image.w += 3 * (turn % 4);
    auto compiled = loaded.compile_for(image);
    if (!compiled.ok()) return compiled.status();
    auto outputs = compiled->run(loaded.picture(image, turn));
    if (!outputs.ok()) return outputs.status();
    if (turn % 2 == 1) continue;
    kept.push_back(std::move(*compiled));
    first.push_back(std::move(*outputs));
  }
  int wrong = 0;
  for (size_t i = kept.size(); i-- > 0;) {
    auto again = kept[i].run(loaded.picture(kept[i].image, 2 * i));
    if (!again.ok()) return again.status();
    wrong += *again == first[i] ? 0 : 1;
  }
  return wrong;
}

// Runs that want nothing but logits, as those of tiles do, between runs that want everything.
Result<int> logits_alone(const Loaded& loaded, const Shape& image) {
  auto compiled = loaded.compile_for(image);
  if (!compiled.ok()) return compiled.status();
  const std::vector<uint8_t> picture = loaded.picture(image, 0);
  auto all = compiled->run(picture);
  if (!all.ok()) return all.status();
  int wrong = 0;
  for (int i = 0; i < 3; ++i) {
    const Outputs poison(image, compiled->logits);
    Outputs outputs = poison;
    RunOutput wanted;
    wanted.logits = outputs.view().logits;
    const std::atomic<bool> go_on{false};
    DEEPLAB_RETURN_IF_ERROR(compiled->executable->run({picture.data(), nullptr, nullptr}, wanted, go_on));
    DEEPLAB_RETURN_IF_ERROR(outputs.check_guards());
    const size_t bytes = compiled->logits.elements() * sizeof(float);
    wrong += std::memcmp(outputs.logits(), all->logits(), bytes) == 0 && outputs.labels() == poison.labels() ? 0 : 1;
    auto again = compiled->run(picture);
    if (!again.ok()) return again.status();
    wrong += *again == *all ? 0 : 1;
  }
  return wrong;
}

Result<int> cancelled(const Loaded& loaded, const Shape& image) {
  auto compiled = loaded.compile_for(image);
  if (!compiled.ok()) return compiled.status();
  const std::vector<uint8_t> picture = loaded.picture(image, 0);
  auto before = compiled->run(picture);
  if (!before.ok()) return before.status();
  const std::atomic<bool> stop{true};
  Outputs outputs(image, compiled->logits);
  const Status status = compiled->executable->run({picture.data(), nullptr, nullptr}, outputs.view(), stop);
  auto after = compiled->run(picture);
  if (!after.ok()) return after.status();
  return (status.code() == Code::kAborted ? 0 : 1) + (*after == *before ? 0 : 1);
}

// Pages that nothing writes are one page of zeros: this image costs no memory.
class Zeros {
 public:
  explicit Zeros(size_t bytes) : bytes_(bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = memory == MAP_FAILED ? nullptr : static_cast<uint8_t*>(memory);
  }
  Zeros(const Zeros&) = delete;
  ~Zeros() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  uint8_t* data() const { return data_; }

 private:
  size_t bytes_;
  uint8_t* data_;
};

Result<int> too_large(const Loaded& loaded, const Shape& image) {
  auto small = loaded.compile_for(image);
  if (!small.ok()) return small.status();
  const std::vector<uint8_t> picture = loaded.picture(image, 0);
  auto before = small->run(picture);
  if (!before.ok()) return before.status();

  constexpr int64_t kSide = 50000;
  const Shape large{1, 3, kSide, kSide};
  const std::atomic<bool> go_on{false};
  auto compiled = loaded.network->compile(loaded.graph, large, go_on);
  Status status = compiled.status();
  if (compiled.ok()) {
    const Zeros pixels(large.elements()), labels(kSide * kSide);
    if (pixels.data() == nullptr || labels.data() == nullptr) return error(Code::kInternal, "no address space");
    status = (*compiled)->run({pixels.data(), nullptr, nullptr}, {labels.data(), nullptr, nullptr}, go_on);
  }
  auto after = small->run(picture);
  if (!after.ok()) return after.status();
  auto fresh = loaded.compile_for(image);
  if (!fresh.ok()) return fresh.status();
  auto once_more = fresh->run(picture);
  if (!once_more.ok()) return once_more.status();
  return (status.code() == Code::kOutOfMemory ? 0 : 1) + (*after == *before ? 0 : 1) + (*once_more == *before ? 0 : 1);
}

Graph small_graph() {
  NetworkAround network(plain_config(21));
  NodeId x = network.conv(network.input(), 64, {7, 2, 1, 3});
  x = network.max_pool(x, {3, 2, 1, 1, PaddingRule::kCeil});
  for (const int rate : {1, 2}) {
    const NodeId y = network.conv(network.conv(x, 20), 20, {3, 1, rate, rate});
    x = network.add(network.conv(y, 64, {1}, {true, false, Activation::kNone}), x);
  }
  return network.finish(x, {6, 12, 18, 24});
}

void run_check(Comparison& comparison, const std::string& name, const Graph& graph, const std::vector<Shape>& sizes,
               const Check& check) {
  const uint64_t seed = seed_of(comparison.seed, name);
  auto weights = random_weights(graph, seed);
  if (!weights.ok()) return comparison.report(name, "", weights.status());
  Loaded loaded{nullptr, optimize(graph), seed, plain_config(1).crf};
  loaded.crf.inference.iterations = 3;
  for (const Precision precision : comparison.precisions) {
    const auto result = [&]() -> Result<std::vector<Measure>> {
      auto network = load_network(*comparison.device, *weights, comparison.options(precision));
      if (!network.ok()) return network.status();
      loaded.network = std::move(*network);
      auto wrong = check(loaded, sizes);
      if (!wrong.ok()) return wrong.status();
      return std::vector<Measure>{{"wrong", static_cast<double>(*wrong), 0}};
    };
    comparison.report(name, precision_name(precision), result());
  }
}

}  // namespace

std::vector<Case> run_cases() {
  const std::pair<const char*, Check> checks[] = {
      {"two runs of one executable overlap",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return overlap(loaded, {sizes[0]}, nullptr); }},
      {"two runs of two executables overlap",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) {
         return overlap(loaded, {sizes[0], sizes[1]}, nullptr);
       }},
      {"two runs with a CRF overlap",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) {
         return overlap(loaded, {sizes[0], sizes[1]}, &loaded.crf);
       }},
      {"the same image gives the same bits",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return repeat(loaded, sizes[2], nullptr); }},
      {"the same image gives the same bits with a CRF",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return repeat(loaded, sizes[0], &loaded.crf); }},
      {"logits alone are those of a whole run",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return logits_alone(loaded, sizes[0]); }},
      {"executables of many sizes share memory",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return many_sizes(loaded, sizes); }},
      {"a run that was cancelled ends with ERR_ABORTED",
       [](const Loaded& loaded, const std::vector<Shape>& sizes) { return cancelled(loaded, sizes[0]); }},
  };
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, bool quick, const Graph& graph, const std::vector<Shape>& sizes,
                       const Check& check) {
    cases.push_back({name, quick, [graph, sizes, check](Comparison& comparison, const std::string& full_name) {
                       run_check(comparison, full_name, graph, sizes, check);
                     }});
  };
  const std::vector<Shape> few = {{1, 3, 33, 41}, {2, 4, 25, 30}, {5, 3, 17, 17}};
  const std::vector<Shape> more = {{4, 3, 129, 97}, {2, 4, 200, 150}, {8, 3, 65, 65}};
  const Graph network = build_deeplab(network_config("resnet50", 21));
  for (const auto& [name, check] : checks) {
    add(std::string("runs: ") + name, true, small_graph(), few, check);
    add(std::string("ResNet-50 runs: ") + name, false, network, more, check);
  }
  const Graph given = given_graph(plain_config(21), 9, 11);
  for (const auto& [name, check] : {checks[0], checks[1], checks[2], checks[3], checks[4]}) {
    add(std::string("runs of given logits: ") + name, true, given, few, check);
  }
  add("ResNet-50 runs: too large an image is ERR_OUT_OF_MEMORY", false, network, more,
      [](const Loaded& loaded, const std::vector<Shape>& sizes) { return too_large(loaded, sizes[0]); });
  return cases;
}

}  // namespace deeplab

// Measures a backend without Node: the network alone by the device's clock, the way from uint8 pixels to uint8 labels
// with two runs overlapped, the same with a CRF, CRFs by themselves, and training steps. bench/README.md says how to
// read the table.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "device_run.h"
#include "graph/cost.h"
#include "graph/deeplab.h"
#include "graph/passes.h"
#include "graph/scales.h"
#include "random_network.h"
#include "session/model.h"

namespace deeplab {
namespace {

constexpr const char* kUsage =
    "usage: bench_gpu [--model FILE] [--device NAME] [--precision NAME] [--size N] [--batches 1,8,32] [--rounds N]\n"
    "                 [--seconds S] [--threads N] [--json FILE] [--only inference|training]\n"
    "                 [--training-size N] [--training-batch N]\n";

constexpr uint64_t kSeed = 1;
constexpr size_t kInputSets = 4;  // different images in turn, so that no cache flatters
constexpr int kClasses = 21;

const std::atomic<bool> kGoOn{false};

struct Arguments {
  std::string model, device = "cuda", precision, json, only;
  int size = 513, rounds = 9, threads = 2, training_size = 321, training_batch = 10;
  double seconds = 1;  // at least, of each round of overlapped runs
  std::vector<int> batches = {1, 8, 32};
};

struct Row {
  std::string what;
  int batch;
  double ms_per_image;  // median of the rounds
  std::string note;
};

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

bool parse(int count, char** values, Arguments* arguments) {
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = values[i], value = values[i + 1];
    if (name == "--model")
      arguments->model = value;
    else if (name == "--device")
      arguments->device = value;
    else if (name == "--precision")
      arguments->precision = value;
    else if (name == "--size")
      arguments->size = std::max(std::atoi(value.c_str()), 1);
    else if (name == "--rounds")
      arguments->rounds = std::max(std::atoi(value.c_str()), 1);
    else if (name == "--seconds")
      arguments->seconds = std::atof(value.c_str());
    else if (name == "--threads")
      arguments->threads = std::max(std::atoi(value.c_str()), 1);
    else if (name == "--json")
      arguments->json = value;
    else if (name == "--only")
      arguments->only = value;
    else if (name == "--training-size")
      arguments->training_size = std::max(std::atoi(value.c_str()), 1);
    else if (name == "--training-batch")
      arguments->training_batch = std::max(std::atoi(value.c_str()), 1);
    else if (name == "--batches") {
      arguments->batches.clear();
      for (const char* at = value.c_str(); *at != '\0'; at += std::strcspn(at, ","), at += *at == ',') {
        arguments->batches.push_back(std::max(std::atoi(at), 1));
      }
    } else
      return false;
  }
  return count % 2 == 1 && !arguments->batches.empty();
}

Result<Model> load_model(const std::string& path) {
  if (!path.empty()) return open_model(path);
  const ModelConfig config = network_config("resnet101", kClasses);
  const Graph graph = build_deeplab(config);
  auto weights = random_weights(graph, kSeed);
  if (!weights.ok()) return weights.status();
  return Model{*weights, config, optimize(graph)};
}

class Benchmark {
 public:
  Benchmark(const Arguments& arguments, Backend& backend, const Model& model)
      : arguments_(arguments), backend_(backend), model_(model) {}

  Status run() {
    precision_ = backend_.auto_precision();
    for (const Precision precision : backend_.precisions()) {
      if (arguments_.precision == precision_name(precision)) precision_ = precision;
    }
    if (!arguments_.precision.empty() && arguments_.precision != precision_name(precision_)) {
      return error(Code::kUnsupportedPrecision, backend_.device(), " has no ", arguments_.precision);
    }
    if (arguments_.only != "training") DEEPLAB_RETURN_IF_ERROR(measure_inference());
    if (arguments_.only == "inference") return Status();
    for (const BatchNormMode mode : {BatchNormMode::kFrozen, BatchNormMode::kTrained}) {
      DEEPLAB_RETURN_IF_ERROR(measure_training(mode));
    }
    return Status();
  }

  void print() const {
    std::printf("%s, %s, %dx%d\n", backend_.device().c_str(), precision_name(precision_), arguments_.size,
                arguments_.size);
    std::printf("%-40s %6s %14s %12s\n", "", "batch", "ms per image", "images/s");
    for (const Row& row : rows_) {
      std::printf("%-40s %6d %14.4f %12.1f  %s\n", row.what.c_str(), row.batch, row.ms_per_image,
                  1000 / row.ms_per_image, row.note.c_str());
    }
  }

  bool write_json() const {
    if (arguments_.json.empty()) return true;
    nlohmann::json rows = nlohmann::json::array();
    for (const Row& row : rows_) {
      rows.push_back({{"what", row.what}, {"batch", row.batch}, {"msPerImage", row.ms_per_image}, {"note", row.note}});
    }
    std::ofstream file(arguments_.json);
    file << nlohmann::json{{"device", backend_.device()},
                           {"precision", precision_name(precision_)},
                           {"size", arguments_.size},
                           {"rounds", arguments_.rounds},
                           {"rows", rows}}
                .dump(1)
         << '\n';
    return file.good();
  }

 private:
  // Images of one batch, and memory for their results.
  struct InputSet {
    std::vector<uint8_t> pixels;
    std::vector<uint8_t> labels;
  };

  Shape image(int batch) const { return {batch, 3, arguments_.size, arguments_.size}; }

  std::vector<InputSet> input_sets(int batch) const {
    std::vector<InputSet> sets(kInputSets);
    for (size_t i = 0; i < sets.size(); ++i) {
      sets[i].pixels = random_picture(image(batch), kSeed + i);
      sets[i].labels.resize(image(batch).n * image(batch).h * image(batch).w);
    }
    return sets;
  }

  Status measure_inference() {
    auto network = load_network(backend_, model_.file, {precision_, arguments_.threads, true});
    if (!network.ok()) return network.status();
    for (const int batch : arguments_.batches) {
      DEEPLAB_RETURN_IF_ERROR(measure_batch(*network, batch));
      // Each time: whoever stops the program has what came before.
      if (!write_json()) return error(Code::kNotFound, "cannot write ", arguments_.json);
    }
    return measure_crf();
  }

  // Milliseconds per run, of `runs` runs of which two are always under way.
  Result<double> overlapped(Executable& executable, std::vector<InputSet>& sets, const CrfParameters* crf, int runs) {
    const double started = now_ms();
    for (int i = 0; i <= runs; ++i) {
      InputSet& set = sets[i % sets.size()];
      if (i < runs) {
        DEEPLAB_RETURN_IF_ERROR(
            executable.start({set.pixels.data(), nullptr, crf}, {set.labels.data(), nullptr, nullptr}, kGoOn));
      }
      if (i > 0) DEEPLAB_RETURN_IF_ERROR(executable.finish());
    }
    return (now_ms() - started) / runs;
  }

  // The median over rounds that last `seconds` each; the first tells how many runs that is, and warms up.
  Status measure_overlapped(const std::string& what, int batch, Executable& executable, std::vector<InputSet>& sets,
                            const CrfParameters* crf) {
    auto first = overlapped(executable, sets, crf, 2);
    if (first.ok()) first = overlapped(executable, sets, crf, 2);
    if (!first.ok()) return first.status();
    const int runs = std::max(static_cast<int>(arguments_.seconds * 1000 / *first), 2);
    std::vector<double> times;
    for (int round = 0; round < arguments_.rounds; ++round) {
      auto time = overlapped(executable, sets, crf, runs);
      if (!time.ok()) return time.status();
      times.push_back(*time / batch);
    }
    rows_.push_back({what, batch, median(times),
                     std::to_string(arguments_.rounds) + " rounds of " + std::to_string(runs) + " runs"});
    return Status();
  }

  // All of them as one graph; by themselves, images of these sizes take the sum that it is held against.
  Status measure_scales(Network& network, int batch, std::vector<InputSet>& sets) {
    const InferenceMode mode{{0.5, 0.75, 1}};
    DEEPLAB_RETURN_IF_ERROR(measure_network("scales 0.5, 0.75 and 1, pixels to labels", network,
                                            in_mode(model_.graph, mode), image(batch), sets));
    for (const double scale : mode.scales) {
      if (scale == 1) continue;
      const auto side = static_cast<int64_t>(arguments_.size * scale);
      const std::string what = "image of " + std::to_string(side) + "x" + std::to_string(side);
      // Of the pixels as many as it has.
      DEEPLAB_RETURN_IF_ERROR(measure_network(what, network, model_.graph, {batch, 3, side, side}, sets));
    }
    return Status();
  }

  // One run after the other: the device's own time between upload and download.
  Status measure_network(const std::string& what, Network& network, const Graph& graph, const Shape& shape,
                         std::vector<InputSet>& sets) {
    auto compiled = network.compile(graph, shape, kGoOn);
    if (!compiled.ok()) return compiled.status();
    Executable& executable = **compiled;
    const int batch = static_cast<int>(shape.n);
    constexpr int kWarmUp = 3;
    std::vector<double> compute, upload, download;
    const int runs = std::max(arguments_.rounds * 4, 20 / batch);
    for (int i = 0; i < kWarmUp + runs; ++i) {
      InputSet& set = sets[i % sets.size()];
      const double started = now_ms();
      DEEPLAB_RETURN_IF_ERROR(
          executable.run({set.pixels.data(), nullptr, nullptr}, {set.labels.data(), nullptr, nullptr}, kGoOn));
      if (i < kWarmUp) continue;
      const RunTimes times = executable.times();
      compute.push_back(times.compute_ms > 0 ? times.compute_ms : now_ms() - started);
      upload.push_back(times.upload_ms);
      download.push_back(times.download_ms);
    }
    auto cost = graph_cost(graph, shape);
    if (!cost.ok()) return cost.status();
    const double ms = median(compute);
    char note[160];
    std::snprintf(note, sizeof note, "%.3g TFLOP/s; upload %.3f, download %.3f ms per image; %s",
                  2e-9 * static_cast<double>(cost->macs) / ms, median(upload) / batch, median(download) / batch,
                  executable.times().compute_ms > 0 ? "device time" : "wall-clock time");
    rows_.push_back({what, batch, ms / batch, note});
    return Status();
  }

  Status measure_batch(const std::shared_ptr<Network>& network, int batch) {
    auto executable = network->compile(model_.graph, image(batch), kGoOn);
    if (!executable.ok()) return executable.status();
    std::vector<InputSet> sets = input_sets(batch);
    DEEPLAB_RETURN_IF_ERROR(
        measure_network("network, pixels to labels on the device", *network, model_.graph, image(batch), sets));
    DEEPLAB_RETURN_IF_ERROR(measure_scales(*network, batch, sets));
    DEEPLAB_RETURN_IF_ERROR(measure_overlapped("host pixels to host labels", batch, **executable, sets, nullptr));
    return measure_overlapped("host pixels to host labels, CRF", batch, **executable, sets, &model_.config.crf);
  }

  // A lattice of its own and inference for each picture, from energies in host memory to labels there.
  Status measure_crf() {
    const int64_t points = int64_t{arguments_.size} * arguments_.size;
    std::vector<InputSet> sets = input_sets(1);
    Random random(kSeed);
    std::vector<float> energies(points * kClasses);
    for (float& energy : energies) energy = 4 * random.unit();
    std::vector<double> build, infer;
    constexpr int kWarmUp = 2;
    for (int i = 0; i < kWarmUp + arguments_.rounds; ++i) {
      InputSet& set = sets[i % sets.size()];
      CrfUnary unary;
      unary.classes = kClasses;
      DEEPLAB_RETURN_IF_ERROR(unary.values.allocate(energies.size()));
      std::copy(energies.begin(), energies.end(), unary.values.data());
      const double started = now_ms();
      auto crf = backend_.build_crf(image(1), set.pixels.data(), model_.config.crf.model, arguments_.threads, kGoOn);
      if (!crf.ok()) return crf.status();
      const double built = now_ms();
      DEEPLAB_RETURN_IF_ERROR(
          (*crf)->infer(std::move(unary), model_.config.crf.inference, {set.labels.data(), nullptr, nullptr}, kGoOn));
      if (i < kWarmUp) continue;
      build.push_back(built - started);
      infer.push_back(now_ms() - built);
    }
    rows_.push_back({"CRF by itself: lattices", 1, median(build), "wall-clock time"});
    rows_.push_back({"CRF by itself: inference", 1, median(infer),
                     std::to_string(model_.config.crf.inference.iterations) + " iterations"});
    return Status();
  }

  // Steps of SGD with the loss on the logits' grid: from pixels and labels in host memory to the loss there.
  Status measure_training(BatchNormMode mode) {
    const int size = arguments_.training_size, batch = arguments_.training_batch;
    TrainingOptions options;
    options.batch_norm = mode;
    options.class_weights.assign(model_.config.classes.size(), 1.0f);
    const Shape crops{batch, 3, size, size};
    auto built = build_training(model_.config, options, crops);
    if (!built.ok()) return built.status();
    const auto network = std::make_shared<const TrainingNetwork>(std::move(*built));
    auto trainer = backend_.create_trainer(network, {precision_, arguments_.threads, true}, kGoOn);
    if (!trainer.ok()) return trainer.status();
    for (size_t i = 0; i < network->parameters.size(); ++i) {
      const Parameter& parameter = network->parameters[i];
      auto values = model_.file->read_f32(parameter.name, parameter.dims);
      if (!values.ok()) return values.status();
      DEEPLAB_RETURN_IF_ERROR((*trainer)->write(static_cast<int>(i), ParameterValues::kValue, values->data()));
    }
    std::vector<InputSet> sets(kInputSets);
    Random random(kSeed);
    for (size_t i = 0; i < sets.size(); ++i) {
      sets[i].pixels = random_picture(crops, kSeed + i);
      sets[i].labels.resize(crops.n * crops.h * crops.w);
      for (uint8_t& label : sets[i].labels) label = random.byte() % model_.config.classes.size();
    }
    const std::vector<float> rates(network->parameters.size(), 1e-4f), decays(network->parameters.size(), 5e-4f);
    constexpr int kWarmUp = 4;  // started one by one, recorded, replayed
    const int steps = std::max(arguments_.rounds * 4, 20);
    std::vector<double> times;
    double loss = 0;
    for (int i = 0; i < kWarmUp + steps; ++i) {
      const InputSet& set = sets[i % sets.size()];
      const double started = now_ms();
      DEEPLAB_RETURN_IF_ERROR((*trainer)->accumulate({set.pixels.data(), set.labels.data(), 1, kSeed}, &loss, kGoOn));
      DEEPLAB_RETURN_IF_ERROR((*trainer)->update({rates.data(), decays.data(), 0.9f}));
      if (i >= kWarmUp) times.push_back(now_ms() - started);
    }
    char note[160];
    const HeldMemory activations = (*trainer)->activation_memory(), parameters = (*trainer)->parameter_memory();
    std::snprintf(note, sizeof note, "loss %.4f; activations %.2f GB, parameters %.2f GB", loss,
                  1e-9 * static_cast<double>(activations.device_bytes + activations.host_bytes),
                  1e-9 * static_cast<double>(parameters.device_bytes + parameters.host_bytes));
    const std::string norm = mode == BatchNormMode::kFrozen ? "frozen" : "trained";
    rows_.push_back({"training " + std::to_string(size) + "x" + std::to_string(size) + ", batch norm " + norm, batch,
                     median(times) / batch, note});
    return Status();
  }

  const Arguments& arguments_;
  Backend& backend_;
  const Model& model_;
  Precision precision_ = Precision::kF32;
  std::vector<Row> rows_;
};

int run(const Arguments& arguments) {
  const auto fail = [](const Status& status) {
    std::fprintf(stderr, "%s: %s\n", code_name(status.code()), status.message().c_str());
    return 1;
  };
  auto backend = find_backend(arguments.device);
  if (!backend.ok()) return fail(backend.status());
  auto model = load_model(arguments.model);
  if (!model.ok()) return fail(model.status());
  Benchmark benchmark(arguments, **backend, *model);
  const Status status = benchmark.run();
  benchmark.print();  // of what was measured before a failure, too
  if (!benchmark.write_json()) return fail(error(Code::kNotFound, "cannot write ", arguments.json));
  return status.ok() ? 0 : fail(status);
}

}  // namespace
}  // namespace deeplab

int main(int count, char** values) {
  deeplab::Arguments arguments;
  if (!deeplab::parse(count, values, &arguments)) {
    std::fputs(deeplab::kUsage, stderr);
    return 2;
  }
  return deeplab::run(arguments);
}

// Training steps of whole networks against the CPU backend in f32: losses, the gradient of every parameter, what SGD
// makes of the parameters, running statistics; and that the same steps give the same bits.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/cpu_backend.h"
#include "comparison.h"
#include "graph/deeplab.h"
#include "graph/training.h"
#include "random_network.h"

namespace deeplab {
namespace {

constexpr int kClasses = 21;
constexpr int kIgnored = 255;
const std::atomic<bool> kGoOn{false};

struct TrainingCase {
  ModelConfig config;
  TrainingOptions options;
  Shape images;
};

// Of each parameter, the elements of one kind.
using Tensors = std::vector<std::vector<float>>;

struct Outcome {
  std::vector<double> losses;
  Tensors gradients;  // of the first step
  Tensors values;     // after the last one
  std::vector<size_t> bytes;

  bool operator==(const Outcome& other) const {
    const auto same = [](const Tensors& a, const Tensors& b) {
      for (size_t i = 0; i < a.size(); ++i) {
        if (std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) return false;
      }
      return true;
    };
    return std::memcmp(losses.data(), other.losses.data(), losses.size() * sizeof(double)) == 0 &&
           same(gradients, other.gradients) && same(values, other.values);
  }
};

// Regions of a class each, some of them ignored.
std::vector<uint8_t> random_labels(const Shape& images, uint64_t seed) {
  constexpr int64_t kCell = 6;
  Random random(seed);
  const int64_t rows = images.h / kCell + 1, columns = images.w / kCell + 1;
  std::vector<uint8_t> cells(images.n * rows * columns), labels;
  for (uint8_t& cell : cells) {
    cell = random.unit() < 0.15f ? kIgnored : static_cast<uint8_t>(random.unit() * kClasses);
  }
  for (int64_t i = 0; i < images.n * images.h * images.w; ++i) {
    const int64_t x = i % images.w, y = i / images.w % images.h, n = i / (images.w * images.h);
    labels.push_back(cells[(n * rows + y / kCell) * columns + x / kCell]);
  }
  return labels;
}

class Training {
 public:
  Training(const TrainingCase& test, uint64_t seed) : test_(test), seed_(seed) {}

  Status build() {
    auto network = build_training(test_.config, test_.options, test_.images);
    if (!network.ok()) return network.status();
    network_ = std::make_shared<const TrainingNetwork>(std::move(*network));
    auto weights = random_weights(build_deeplab(test_.config), seed_);
    if (!weights.ok()) return weights.status();
    for (const Parameter& parameter : network_->parameters) {
      auto values = (*weights)->read_f32(parameter.name, parameter.dims);
      if (!values.ok()) return values.status();
      initial_.push_back(std::move(*values));
    }
    return Status();
  }

  // Three steps of SGD, the second of two batches.
  Result<Outcome> run(Backend& device, const NetworkOptions& options) const {
    auto made = device.create_trainer(network_, options, kGoOn);
    if (!made.ok()) return made.status();
    Trainer& trainer = **made;
    for (size_t i = 0; i < initial_.size(); ++i) {
      DEEPLAB_RETURN_IF_ERROR(trainer.write(static_cast<int>(i), ParameterValues::kValue, initial_[i].data()));
    }
    Outcome outcome;
    DEEPLAB_RETURN_IF_ERROR(accumulate(trainer, 1, 1, &outcome));
    DEEPLAB_RETURN_IF_ERROR(read(trainer, ParameterValues::kGradient, &outcome.gradients));
    DEEPLAB_RETURN_IF_ERROR(update(trainer));
    DEEPLAB_RETURN_IF_ERROR(accumulate(trainer, 2, 0.5f, &outcome));
    DEEPLAB_RETURN_IF_ERROR(accumulate(trainer, 3, 0.5f, &outcome));
    DEEPLAB_RETURN_IF_ERROR(update(trainer));
    DEEPLAB_RETURN_IF_ERROR(accumulate(trainer, 4, 1, &outcome));
    DEEPLAB_RETURN_IF_ERROR(update(trainer));
    DEEPLAB_RETURN_IF_ERROR(read(trainer, ParameterValues::kValue, &outcome.values));
    DEEPLAB_RETURN_IF_ERROR(check_written(trainer));
    return outcome;
  }

  const std::vector<Parameter>& parameters() const { return network_->parameters; }
  const Tensors& initial() const { return initial_; }

 private:
  Status accumulate(Trainer& trainer, uint64_t batch, float scale, Outcome* outcome) const {
    const auto pixels = random_picture(test_.images, seed_ + 10 * batch);
    const auto labels = random_labels(test_.images, seed_ + 10 * batch + 1);
    double loss = NAN;
    DEEPLAB_RETURN_IF_ERROR(trainer.accumulate({pixels.data(), labels.data(), scale, seed_ + batch}, &loss, kGoOn));
    outcome->losses.push_back(loss);
    return Status();
  }

  // Some parameters learn faster than others; their decays differ.
  Status update(Trainer& trainer) const {
    std::vector<float> rates, decays;
    for (size_t i = 0; i < parameters().size(); ++i) {
      rates.push_back(i % 3 == 0 ? 2e-3f : 1e-3f);
      decays.push_back(i % 2 == 0 ? 5e-4f : 0.0f);
    }
    return trainer.update({rates.data(), decays.data(), 0.9f});
  }

  Status read(Trainer& trainer, ParameterValues values, Tensors* tensors) const {
    for (size_t i = 0; i < parameters().size(); ++i) {
      const bool there = values == ParameterValues::kValue || parameters()[i].trained;
      tensors->emplace_back(there ? parameters()[i].elements() : 0, NAN);
      if (there) DEEPLAB_RETURN_IF_ERROR(trainer.read(static_cast<int>(i), values, tensors->back().data()));
    }
    return Status();
  }

  // What was written is what is read, bit for bit; and gradients are zero after a step.
  Status check_written(Trainer& trainer) const {
    Tensors gradients;
    DEEPLAB_RETURN_IF_ERROR(read(trainer, ParameterValues::kGradient, &gradients));
    for (size_t i = 0; i < parameters().size(); ++i) {
      const Parameter& parameter = parameters()[i];
      for (const float gradient : gradients[i]) {
        if (gradient != 0) return error(Code::kInternal, parameter.name, ": its gradient is not zero after a step");
      }
      if (!parameter.trained) continue;
      std::vector<float> written(parameter.elements()), found(parameter.elements());
      for (size_t k = 0; k < written.size(); ++k) written[k] = static_cast<float>(k + i);
      const int index = static_cast<int>(i);
      DEEPLAB_RETURN_IF_ERROR(trainer.write(index, ParameterValues::kMomentum, written.data()));
      DEEPLAB_RETURN_IF_ERROR(trainer.read(index, ParameterValues::kMomentum, found.data()));
      if (found != written) return error(Code::kInternal, parameter.name, ": other momentum than was written");
    }
    return Status();
  }

  const TrainingCase& test_;
  const uint64_t seed_;
  std::shared_ptr<const TrainingNetwork> network_;
  Tensors initial_;
};

double square(double value) { return value * value; }

// Of all that `counts` says: the difference beside the reference, by the root of the sum of squares.
template <typename Counts>
double error_of(const Tensors& values, const Tensors& reference, const Tensors* from, const Counts& counts) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (!counts(i)) continue;
    for (size_t k = 0; k < reference[i].size(); ++k) {
      difference += square(static_cast<double>(values[i][k]) - reference[i][k]);
      norm += square(static_cast<double>(reference[i][k]) - (from == nullptr ? 0 : (*from)[i][k]));
    }
  }
  return norm == 0 ? difference : std::sqrt(difference / norm);
}

// Of the parameter that is worst; those whose gradient is next to nothing beside all are as good as they can be.
double worst_error(const Tensors& values, const Tensors& reference) {
  constexpr double kNothing = 1e-3;
  double all = 0, worst = 0;
  std::vector<double> norms(reference.size()), differences(reference.size());
  for (size_t i = 0; i < reference.size(); ++i) {
    for (size_t k = 0; k < reference[i].size(); ++k) {
      norms[i] += square(reference[i][k]);
      differences[i] += square(static_cast<double>(values[i][k]) - reference[i][k]);
    }
    all += norms[i];
  }
  for (size_t i = 0; i < reference.size(); ++i) {
    const double error = std::sqrt(differences[i] / std::max(norms[i], square(kNothing) * all));
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
  }
  return worst;
}

struct Bounds {
  double loss, gradient, parameter;
};

Bounds bounds_of(Precision precision) {
  switch (precision) {
    // Where weights change by one part in 2^23, gradients of a hundred pixels that have a ReLU's kink in them change by
    // up to 1.6e-3, those without by 1e-6.
    case Precision::kF32: return {1e-5, 3e-3, 3e-2};
    case Precision::kTF32: return {1e-3, 3e-2, 0.2};
    case Precision::kBF16: return {3e-2, 0.4, 1};
    case Precision::kF16: return {5e-3, 0.2, 0.7};
  }
  return {};
}

std::vector<Measure> measure(const Training& training, const Outcome& outcome, const Outcome& expected,
                             Precision precision) {
  double loss = 0;
  for (size_t i = 0; i < expected.losses.size(); ++i) {
    const double error = std::abs(outcome.losses[i] / expected.losses[i] - 1);
    loss = std::isnan(error) ? error : std::max(loss, error);
  }
  const auto is_trained = [&](size_t i) { return training.parameters()[i].trained; };
  const auto is_statistic = [&](size_t i) { return !training.parameters()[i].trained; };
  const Bounds bounds = bounds_of(precision);
  return {
      {"loss", loss, bounds.loss},
      {"gradients", error_of(outcome.gradients, expected.gradients, nullptr, is_trained), bounds.gradient},
      {"worst", worst_error(outcome.gradients, expected.gradients), bounds.parameter},
      {"change", error_of(outcome.values, expected.values, &training.initial(), is_trained), 2 * bounds.gradient},
      {"statistics", error_of(outcome.values, expected.values, &training.initial(), is_statistic), bounds.gradient}};
}

void compare_training(Comparison& comparison, const std::string& name, const TrainingCase& test) {
  // The CPU's is held against PyTorch instead (test/training.test.ts).
  if (comparison.device == cpu_backend()) return;
  Training training(test, seed_of(comparison.seed, name));
  if (const Status built = training.build(); !built.ok()) return comparison.report(name, "", built);
  const auto expected = training.run(*cpu_backend(), comparison.options(Precision::kF32));
  if (!expected.ok()) return comparison.report(name, "", expected.status());
  for (const Precision precision : comparison.precisions) {
    const auto result = [&]() -> Result<std::vector<Measure>> {
      auto outcome = training.run(*comparison.device, comparison.options(precision));
      if (!outcome.ok()) return outcome.status();
      auto measures = measure(training, *outcome, *expected, precision);
      if (precision != comparison.precisions[0]) return measures;
      auto again = training.run(*comparison.device, comparison.options(precision));
      if (!again.ok()) return again.status();
      measures.push_back({"same bits", *again == *outcome ? 1.0 : 0.0, 1, true});
      return measures;
    };
    comparison.report(name, precision_name(precision), result());
  }
}

class TrainingList {
 public:
  void add(const std::string& name, const ModelConfig& config, const Shape& images, BatchNormMode norm, LossGrid loss,
           float dropout = 0, bool quick = true) {
    TrainingOptions options;
    options.batch_norm = norm;
    options.loss = loss;
    options.dropout = dropout;
    options.ignore_label = kIgnored;
    for (int c = 0; c < kClasses; ++c) options.class_weights.push_back(c % 4 == 0 ? 0.5f : 1.0f);
    const TrainingCase test{config, options, images};
    cases_.push_back({"training: " + name, quick, [test](Comparison& comparison, const std::string& full_name) {
                        compare_training(comparison, full_name, test);
                      }});
  }
  std::vector<Case> take() { return std::move(cases_); }

 private:
  std::vector<Case> cases_;
};

}  // namespace

std::vector<Case> training_cases() {
  constexpr auto kFrozen = BatchNormMode::kFrozen, kTrained = BatchNormMode::kTrained;
  constexpr auto kLogits = LossGrid::kLogits, kImage = LossGrid::kImage;
  TrainingList list;
  const ModelConfig v2 = network_config("resnet50", kClasses);
  list.add("v2 ResNet-50, frozen", v2, {2, 3, 33, 41}, kFrozen, kLogits, 0, false);
  list.add("v2 ResNet-50, trained", v2, {2, 3, 33, 41}, kTrained, kLogits, 0, false);
  ModelConfig same = network_config("resnet50", kClasses, {12});
  same.stem_padding = same.pool_padding = PaddingRule::kSame;
  list.add("v2 ResNet-50 same, LargeFOV, trained, image's loss", same, {2, 3, 20, 27}, kTrained, kImage);
  list.add("v2 ResNet-101, frozen", network_config("resnet101", kClasses), {1, 3, 49, 33}, kFrozen, kLogits, 0, false);

  ModelConfig vgg = network_config("vgg16", kClasses, {6, 12});
  vgg.head_channels = 16, vgg.pool_padding = PaddingRule::kCeil, vgg.upsample = Upsample::kAlignCorners;
  list.add("VGG-16 ASPP, dropout", vgg, {2, 3, 17, 13}, kFrozen, kLogits, 0.5f);
  vgg.aspp_rates = {12}, vgg.pool5a = true;
  list.add("VGG-16 LargeFOV, pool5a, image's loss", vgg, {1, 3, 21, 17}, kFrozen, kImage);

  ModelConfig v3 = network_config("resnet50", kClasses, {6, 12, 18}, "deeplab_v3");
  v3.head_channels = 20, v3.output_stride = 16;
  list.add("v3 ResNet-50, trained, image's loss", v3, {5, 3, 49, 33}, kTrained, kImage, 0, false);
  v3.head_conv = true, v3.output_stride = 8;
  list.add("v3 ResNet-50, head convolution, frozen, dropout", v3, {2, 3, 17, 25}, kFrozen, kImage, 0.1f, false);

  ModelConfig mobile = network_config("mobilenet_v2", kClasses, {}, "deeplab_v3");
  mobile.head_channels = 16, mobile.output_stride = 16, mobile.upsample = Upsample::kAsymmetric;
  list.add("v3 MobileNetV2, frozen, dropout", mobile, {2, 3, 40, 33}, kFrozen, kImage, 0.1f);
  mobile.image_pooling = false;  // the batch norm of two images' means has no gradient to speak of
  list.add("v3 MobileNetV2, trained", mobile, {2, 3, 65, 97}, kTrained, kLogits, 0, false);
  return list.take();
}

}  // namespace deeplab

#include "backend/cuda/training_parameters.h"

#include "backend/cuda/training_step.h"
#include "backend/cuda/update_kernels.h"
#include "core/memory.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "the parameters with their gradients and momenta";

}  // namespace

Result<std::unique_ptr<TrainingParameters>> TrainingParameters::create(std::shared_ptr<const TrainingNetwork> network,
                                                                       Precision precision, Stream stream) {
  std::unique_ptr<TrainingParameters> parameters(new TrainingParameters(std::move(network), precision, stream));
  parameters->place_all();
  DEEPLAB_RETURN_IF_ERROR(parameters->allocate());
  return std::unique_ptr<TrainingParameters>(std::move(parameters));
}

void TrainingParameters::place_all() {
  const auto& all = network_->parameters;
  places_.resize(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    places_[i].channels = all[i].dims[0];
    places_[i].stored = places_[i].filled = padded_channels(all[i].dims[0]);
  }
  for (const TrainingNode& node : network_->nodes) {
    const auto* conv = std::get_if<Conv2d>(&node.op);
    if (conv == nullptr) continue;
    Place& kernel = places_[network_->parameter(conv->weight)];
    kernel.area = int64_t{conv->window.kernel} * conv->window.kernel;
    if (!conv->depthwise) {
      kernel.outer = conv->out_channels;
      kernel.channels = conv->in_channels;
      kernel.stored = stored_channels(*network_, node.inputs[0], precision_);
    }
    kernel.filled = (conv->depthwise ? 1 : padded_channels(conv->out_channels)) * kernel.area * kernel.stored;
  }
  for (const bool trained : {true, false}) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].trained != trained) continue;
      places_[i].offset = elements_;
      const int64_t blocks = (places_[i].filled + kParameterBlock - 1) / kParameterBlock;
      elements_ += blocks * kParameterBlock;
      if (trained) owner_of_block_.insert(owner_of_block_.end(), blocks, static_cast<int32_t>(i));
    }
    if (trained) trained_ = elements_;
  }
}

Status TrainingParameters::allocate() {
  const auto zeros = [&](size_t bytes, DeviceBuffer* buffer) -> Status {
    DEEPLAB_RETURN_IF_ERROR(buffer->allocate(bytes, kPurpose));
    return fill(stream_, buffer->data(), 0, bytes);
  };
  DEEPLAB_RETURN_IF_ERROR(zeros(elements_ * sizeof(float), &values_));
  DEEPLAB_RETURN_IF_ERROR(zeros(trained_ * sizeof(float), &gradients_));
  DEEPLAB_RETURN_IF_ERROR(zeros(trained_ * sizeof(float), &momenta_));
  if (element_bytes(precision_) != sizeof(float)) {
    DEEPLAB_RETURN_IF_ERROR(zeros(trained_ * element_bytes(precision_), &computed_));
  }
  const size_t owners = owner_of_block_.size() * sizeof(int32_t);
  DEEPLAB_RETURN_IF_ERROR(owners_.allocate(owners, kPurpose));
  DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream_, owners_.data(), owner_of_block_.data(), owners));
  DEEPLAB_RETURN_IF_ERROR(rules_.allocate(places_.size() * sizeof(UpdateRule), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(host_rules_.allocate(places_.size() * sizeof(UpdateRule), kPurpose));
  return synchronize(stream_);
}

const void* TrainingParameters::computed(const std::string& name) const {
  if (computed_.size() == 0) return value(name);
  return computed_.data() + place(name).offset * element_bytes(precision_);
}

Status TrainingParameters::check(int parameter, ParameterValues values) const {
  if (parameter < 0 || parameter >= static_cast<int>(places_.size())) {
    return error(Code::kInternal, "there is no parameter ", parameter);
  }
  if (values != ParameterValues::kValue && !network_->parameters[parameter].trained) {
    return error(Code::kInternal, network_->parameters[parameter].name, " is not trained");
  }
  return Status();
}

float* TrainingParameters::memory(int parameter, ParameterValues values) const {
  const DeviceBuffer& block = values == ParameterValues::kValue      ? values_
                              : values == ParameterValues::kMomentum ? momenta_
                                                                     : gradients_;
  return block.as<float>() + places_[parameter].offset;
}

Status TrainingParameters::read(int parameter, ParameterValues values, float* out) const {
  DEEPLAB_RETURN_IF_ERROR(check(parameter, values));
  const Place& place = places_[parameter];
  std::vector<float> stored(place.filled);
  DEEPLAB_RETURN_IF_ERROR(
      copy_to_host(stream_, stored.data(), memory(parameter, values), stored.size() * sizeof(float)));
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream_));
  place.for_each([&](int64_t plain, int64_t at) { out[plain] = stored[at]; });
  return Status();
}

Status TrainingParameters::write(int parameter, ParameterValues values, const float* data) {
  DEEPLAB_RETURN_IF_ERROR(check(parameter, values));
  const Place& place = places_[parameter];
  std::vector<float> stored(place.filled, 0.0f);
  place.for_each([&](int64_t plain, int64_t at) { stored[at] = data[plain]; });
  float* const to = memory(parameter, values);
  DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream_, to, stored.data(), stored.size() * sizeof(float)));
  if (values == ParameterValues::kValue && computed_.size() > 0 && network_->parameters[parameter].trained) {
    DEEPLAB_RETURN_IF_ERROR(with_element(precision_, [&](auto element) {
      using T = decltype(element);
      return launch(stream_, place.filled, ConvertKernel<T>{to, computed_.as<T>() + place.offset});
    }));
  }
  return synchronize(stream_);
}

Status TrainingParameters::update(const ParameterUpdate& update) {
  // What an earlier update still reads.
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream_));
  auto* rules = host_rules_.as<UpdateRule>();
  for (size_t i = 0; i < places_.size(); ++i) rules[i] = {update.learning_rates[i], update.weight_decays[i]};
  DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream_, rules_.data(), rules, rules_.size()));
  return with_element(precision_, [&](auto element) {
    using T = decltype(element);
    const UpdateKernel<T> kernel{owners_.as<int32_t>(), rules_.as<UpdateRule>(), update.momentum,  values_.as<float>(),
                                 momenta_.as<float>(),  gradients_.as<float>(),  computed_.as<T>()};
    return launch(stream_, trained_, kernel);
  });
}

}  // namespace deeplab::cuda

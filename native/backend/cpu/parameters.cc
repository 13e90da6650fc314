#include "backend/cpu/parameters.h"

namespace deeplab {

Status Parameters::allocate(const std::vector<Parameter>& parameters) {
  const auto bytes_of = [](const Parameter& parameter) {
    return round_up(parameter.elements() * sizeof(float), AlignedBuffer::kAlignment);
  };
  size_t bytes = 0;
  for (const Parameter& parameter : parameters) bytes += bytes_of(parameter) * (parameter.trained ? 3 : 1);
  DEEPLAB_RETURN_IF_ERROR(check_memory(bytes, "the parameters, their gradients and their momentum"));
  DEEPLAB_RETURN_IF_ERROR(memory_.allocate(bytes));
  std::byte* next = memory_.data();
  const auto take = [&](const Parameter& parameter) {
    auto* const taken = reinterpret_cast<float*>(next);
    next += bytes_of(parameter);
    return taken;
  };
  tensors_.clear();
  for (const Parameter& parameter : parameters) {
    ParameterTensor tensor{parameter.elements(), take(parameter)};
    if (parameter.trained) {
      tensor.momentum = take(parameter);
      tensor.gradient = take(parameter);
    }
    tensors_.push_back(tensor);
  }
  return Status();
}

}  // namespace deeplab

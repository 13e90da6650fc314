// Descriptors of cuDNN's graph API, which describe operations, engines and plans as attributes.
#pragma once

#include <utility>
#include <vector>

#include "backend/cuda/cudnn_library.h"

namespace deeplab::cuda {

// A finalized descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const Cudnn* cudnn, cudnnBackendDescriptor_t handle) : cudnn_(cudnn), handle_(handle) {}
  Descriptor(Descriptor&& other) noexcept { *this = std::move(other); }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(cudnn_, other.cudnn_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Descriptor() {
    if (handle_ != nullptr) cudnn_->destroy_descriptor(handle_);
  }

  cudnnBackendDescriptor_t get() const { return handle_; }

  // An attribute that is one value of a plain type.
  template <typename T>
  Status read(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T* value) const {
    int64_t count = 0;
    return cudnn_->check(cudnn_->get_attribute(handle_, name, type, 1, &count, value), "an attribute");
  }
  // One that is any number of them.
  template <typename T>
  Status read(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::vector<T>* values) const {
    int64_t count = 0;
    DEEPLAB_RETURN_IF_ERROR(
        cudnn_->check(cudnn_->get_attribute(handle_, name, type, 0, &count, nullptr), "an attribute"));
    values->resize(count);
    DEEPLAB_RETURN_IF_ERROR(
        cudnn_->check(cudnn_->get_attribute(handle_, name, type, count, &count, values->data()), "an attribute"));
    values->resize(count);
    return Status();
  }

 private:
  const Cudnn* cudnn_ = nullptr;
  cudnnBackendDescriptor_t handle_ = nullptr;
};

// Builder(cudnn, type).set(...).set(...).finalize(): the first failure is what comes out.
class Builder {
 public:
  Builder(const Cudnn* cudnn, cudnnBackendDescriptorType_t type) : cudnn_(cudnn) {
    cudnnBackendDescriptor_t handle = nullptr;
    status_ = cudnn->check(cudnn->create_descriptor(type, &handle), "a descriptor");
    if (status_.ok()) descriptor_ = Descriptor(cudnn, handle);
  }

  Builder& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const void* values,
               int64_t count = 1) {
    if (status_.ok()) {
      status_ = cudnn_->check(cudnn_->set_attribute(descriptor_.get(), name, type, count, values), "an attribute");
    }
    return *this;
  }
  Builder& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, values.data(), static_cast<int64_t>(values.size()));
  }
  Builder& set(cudnnBackendAttributeName_t name, int64_t value) { return set(name, CUDNN_TYPE_INT64, &value); }
  Builder& set(cudnnBackendAttributeName_t name, bool value) { return set(name, CUDNN_TYPE_BOOLEAN, &value); }
  Builder& set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    return set(name, CUDNN_TYPE_DATA_TYPE, &value);
  }
  Builder& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    const cudnnBackendDescriptor_t handle = value.get();
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, &handle);
  }

  Result<Descriptor> finalize() {
    if (status_.ok()) status_ = cudnn_->check(cudnn_->finalize(descriptor_.get()), "a descriptor");
    if (!status_.ok()) return status_;
    return std::move(descriptor_);
  }

 private:
  const Cudnn* cudnn_;
  Status status_;
  Descriptor descriptor_;
};

}  // namespace deeplab::cuda

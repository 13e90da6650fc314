// The parameters of a network that is trained, as the CPU keeps them: f32, row-major.
#pragma once

#include <vector>

#include "core/memory.h"
#include "graph/training.h"

namespace deeplab {

struct ParameterTensor {
  int64_t elements = 0;
  float* value = nullptr;
  float* momentum = nullptr;  // this and `gradient` only where the parameter is trained
  float* gradient = nullptr;
};

class Parameters {
 public:
  // All zero.
  Status allocate(const std::vector<Parameter>& parameters);

  const ParameterTensor& operator[](int i) const { return tensors_[i]; }
  size_t size() const { return tensors_.size(); }
  size_t bytes() const { return memory_.size(); }

  // Counts changes of the values: what is made of them is made again.
  uint64_t version() const { return version_; }
  void changed() { ++version_; }

 private:
  std::vector<ParameterTensor> tensors_;
  AlignedBuffer memory_;
  uint64_t version_ = 1;
};

}  // namespace deeplab

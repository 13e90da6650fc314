// One layer of a compiled network, ready to run.
#pragma once

#include <functional>
#include <string>

#include "backend/cuda/device.h"
#include "graph/memory_plan.h"

namespace deeplab::cuda {

// What a step finds when it runs, all in device memory.
struct StepContext {
  Stream stream = nullptr;
  std::byte* arena = nullptr;  // offsets into it were planned when the step was compiled
  const uint8_t* pixels = nullptr;
  const float* given = nullptr;  // logits, of a graph with GivenLogits
  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(arena + offset);
  }
};

struct Step {
  std::string implementation;
  double milliseconds = 0;
  bool cached = false;
  size_t scratch_bytes = 0;
  // Null where there is nothing to do.
  std::function<Status(const StepContext& context, const StepMemory& memory)> run;
};

}  // namespace deeplab::cuda

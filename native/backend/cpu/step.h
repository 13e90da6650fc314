// One layer of a compiled network, ready to run.
#pragma once

#include <cstddef>
#include <dnnl.hpp>
#include <functional>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "graph/memory_plan.h"

namespace deeplab {

// What a step finds when it runs. Activations are NHWC; offsets into `arena` were planned when the step was compiled.
struct StepContext {
  dnnl::stream& stream;
  std::byte* arena;
  const RunInput& input;
  const RunOutput& output;
  // Where a CRF follows, the head writes its unary potentials here, and no labels: [N,H,W,row_stride(classes)].
  float* unary = nullptr;

  template <typename T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(arena + offset);
  }
};

using Run = std::function<void(const StepContext& context, const StepMemory& memory)>;

struct PackedConv;

struct Step {
  std::string implementation;  // oneDNN's name of it, "winograd+..." or "loop"
  size_t scratch_bytes = 0;
  Run run;
  std::shared_ptr<const PackedConv> weights = nullptr;  // that `run` uses; null: none
};

}  // namespace deeplab

// Weights in the layouts that oneDNN chose for them. An executable holds what it uses; executables of other image sizes
// that want the same layout share it, and another layout is made from the file again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/onednn.h"
#include "core/memory.h"
#include "graph/weights.h"

namespace deeplab {

struct PackedConv {
  AlignedBuffer kernel_bytes;
  dnnl::memory kernel;  // in kernel_bytes
  dnnl::memory bias;
};

class PackedWeights {
 public:
  // The weights of layer `name` in `layout`; `read` makes them, row-major f32 of the layout's dims, if need be.
  Result<std::shared_ptr<const PackedConv>> get(const std::string& name, const dnnl::memory::desc& layout,
                                                const std::function<Result<ConvWeights>()>& read);

 private:
  std::map<std::string, std::vector<std::weak_ptr<const PackedConv>>> layouts_;
};

}  // namespace deeplab

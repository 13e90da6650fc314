// Weights in the layouts that oneDNN chose for them. An executable holds what it uses; executables of other image
// sizes, and of other networks of the same file in the process, that want the same layout share it, and another layout
// is made from the file again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cpu/onednn.h"
#include "core/memory.h"
#include "graph/weights.h"

namespace deeplab {

// Never changed once it is made.
struct PackedConv {
  size_t bytes() const { return kernel_bytes.size() + bias.get_desc().get_size(); }

  AlignedBuffer kernel_bytes;
  dnnl::memory kernel;  // in kernel_bytes
  dnnl::memory bias;
};

class PackedWeights {
 public:
  // Those of a file, the same for whoever asks while somebody has them. From any thread, as all of this.
  static std::shared_ptr<PackedWeights> of(std::shared_ptr<const Safetensors> file);

  // The weights that `key` says all about but their layout; `read` makes them, row-major f32 of the layout's dims, if
  // need be. Who asks while another thread packs some waits for that one layer.
  Result<std::shared_ptr<const PackedConv>> get(const std::string& key, const dnnl::memory::desc& layout,
                                                const std::function<Result<ConvWeights>()>& read);

 private:
  explicit PackedWeights(std::shared_ptr<const Safetensors> file) : file_(std::move(file)) {}

  const std::shared_ptr<const Safetensors> file_;  // whose address is what it is known by
  std::mutex mutex_;
  std::map<std::string, std::vector<std::weak_ptr<const PackedConv>>> layouts_;
};

// The weights that the executables of one network hold, each counted once.
class WeightsInUse {
 public:
  void add(const std::shared_ptr<const PackedConv>& weights);
  void remove(const std::shared_ptr<const PackedConv>& weights);
  size_t bytes() const { return bytes_; }

 private:
  std::map<const PackedConv*, int> users_;
  size_t bytes_ = 0;
};

}  // namespace deeplab

// Reader of the safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes without a gap
// (https://github.com/huggingface/safetensors#format). Trusts nothing: every length and offset is checked before use,
// and no tensor's bytes are touched until read_f32 asks for them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/memory_map.h"
#include "core/status.h"
#include "core/tensor.h"

namespace deeplab {

class Safetensors {
 public:
  static constexpr size_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

  // Maps the file for as long as the object lives. While it does, whoever opens the file again, by whatever path, gets
  // the same object; a file that has been written to since, or has replaced it, is another. From any thread.
  static Result<std::shared_ptr<const Safetensors>> open(const std::string& path);
  // Reads a file already in memory; `data` must outlive the object. `name` is for messages.
  static Result<std::shared_ptr<const Safetensors>> parse(const std::byte* data, size_t size, std::string name);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::string& name() const { return name_; }

  // The tensor, which must have these dims.
  Result<const TensorView*> find(const std::string& tensor, const Dims& dims) const;

  // The tensor's values as float. F64, F32, F16 and BF16 are converted; I8 is multiplied by the per-channel scale in
  // "<tensor>.scale", one value per index of the first dimension. A value that is not finite is an error.
  Result<std::vector<float>> read_f32(const std::string& tensor, const Dims& dims) const;

  // See MemoryMap::release_pages.
  void release_pages() const;

 private:
  Safetensors() = default;
  Status read_header(const std::byte* data, size_t size);

  std::string name_;
  std::unique_ptr<MemoryMap> map_;  // null after parse()
  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace deeplab

// The memory of a network's activations, shared by its executables, of which one runs at a time: as large as the
// largest that has run needs, and freed when that one goes.
#pragma once

#include <set>

#include "core/memory.h"

namespace deeplab {

class Arena {
 public:
  // An executable of this many bytes came or went.
  void add(size_t bytes) { sizes_.insert(bytes); }
  void remove(size_t bytes) {
    sizes_.erase(sizes_.find(bytes));
    if (sizes_.empty() || buffer_.size() > *sizes_.rbegin()) buffer_.free();
  }

  // ERR_OUT_OF_MEMORY if there could not be that much.
  Status check(size_t bytes) const {
    return bytes <= buffer_.size() ? Status() : check_memory(bytes - buffer_.size(), "the network at this image size");
  }

  // Memory for an executable about to run; its content does not survive the next call.
  Result<std::byte*> acquire(size_t bytes) {
    if (buffer_.size() < bytes) {
      DEEPLAB_RETURN_IF_ERROR(check(bytes));
      buffer_.free();
      DEEPLAB_RETURN_IF_ERROR(buffer_.allocate(bytes));
    }
    return buffer_.data();
  }

  size_t bytes() const { return buffer_.size(); }

 private:
  std::multiset<size_t> sizes_;
  AlignedBuffer buffer_;
};

}  // namespace deeplab

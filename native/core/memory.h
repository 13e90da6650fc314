// How much memory there is, and aligned memory that reports failure.
#pragma once

#include <cstddef>
#include <utility>

#include "core/status.h"

namespace deeplab {

struct SystemMemory {
  size_t total_bytes = 0;
  size_t available_bytes = 0;  // without swapping, and within the control group's limit
};

SystemMemory system_memory();

// ERR_OUT_OF_MEMORY if `bytes` more would not fit. Asked before large allocations, because Linux grants memory that it
// does not have and kills the process that uses it.
Status check_memory(size_t bytes, const char* purpose);

// Memory for weights and activations: straight from the system, in huge pages where it has them, and back to the system
// when it is freed (malloc would keep blocks of these sizes, and a process that loads models in turn would grow).
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;  // of offsets into it: a cache line, and the widest vector register

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer() { free(); }

  // Replaces the content by `bytes` zero bytes.
  Status allocate(size_t bytes);
  void free();
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t mapped_ = 0;  // what the system gave, in whole pages
};

constexpr size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace deeplab

// Memory that comes and goes with every image. Pages fresh from the system cost about as much as the work that is done
// in them, so what is freed is kept, up to kKeptBytes in the process, and given to who asks next.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#include "core/memory.h"
#include "core/status.h"

namespace deeplab {

constexpr size_t kKeptBytes = size_t{256} << 20;

// Some buffer of at least `bytes`, with anything in it. From any thread; never throws.
Status take_buffer(size_t bytes, AlignedBuffer* buffer);
void give_back_buffer(AlignedBuffer buffer);
// Frees what is kept.
void free_kept_buffers();

// `size` values of a plain type, whatever was in their memory before.
template <typename T>
class Array {
 public:
  Array() = default;
  Array(Array&& other) noexcept { *this = std::move(other); }
  Array& operator=(Array&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Array() { free(); }

  Status allocate(size_t size) {
    free();
    DEEPLAB_RETURN_IF_ERROR(take_buffer(size * sizeof(T), &buffer_));
    size_ = size;
    return Status();
  }
  Status allocate_zeros(size_t size) {
    DEEPLAB_RETURN_IF_ERROR(allocate(size));
    if (size > 0) std::memset(buffer_.data(), 0, bytes());
    return Status();
  }
  void free() {
    give_back_buffer(std::move(buffer_));
    size_ = 0;
  }

  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) const { return data()[i]; }

 private:
  AlignedBuffer buffer_;
  size_t size_ = 0;
};

}  // namespace deeplab

#include "core/array.h"

#include <algorithm>
#include <array>
#include <mutex>

namespace deeplab {
namespace {

// Few, and all at hand: keeping one must not need memory.
struct Kept {
  static constexpr size_t kBuffers = 64;
  std::mutex mutex;
  std::array<AlignedBuffer, kBuffers> buffers;  // the first `count`, longest kept first
  size_t count = 0;
  size_t bytes = 0;

  AlignedBuffer remove(size_t index) {
    AlignedBuffer buffer = std::move(buffers[index]);
    std::move(buffers.begin() + index + 1, buffers.begin() + count, buffers.begin() + index);
    --count;
    bytes -= buffer.size();
    return buffer;
  }
};

Kept& kept() {
  static Kept* const instance = new Kept();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

Status take_buffer(size_t bytes, AlignedBuffer* buffer) {
  if (bytes == 0) return Status();
  {
    Kept& all = kept();
    const std::lock_guard<std::mutex> lock(all.mutex);
    size_t best = all.count;
    for (size_t i = 0; i < all.count; ++i) {
      const size_t size = all.buffers[i].size();
      if (size < bytes || size > 2 * bytes) continue;  // a larger one would be wasted
      if (best == all.count || size < all.buffers[best].size()) best = i;
    }
    if (best != all.count) {
      *buffer = all.remove(best);
      return Status();
    }
  }
  constexpr size_t kPage = 4096;
  return buffer->allocate(round_up(bytes, kPage));
}

void give_back_buffer(AlignedBuffer buffer) {
  if (buffer.size() == 0 || buffer.size() > kKeptBytes) return;
  Kept& all = kept();
  const std::lock_guard<std::mutex> lock(all.mutex);
  while (all.count == Kept::kBuffers || all.bytes + buffer.size() > kKeptBytes) all.remove(0);
  all.bytes += buffer.size();
  all.buffers[all.count++] = std::move(buffer);
}

void free_kept_buffers() {
  Kept& all = kept();
  const std::lock_guard<std::mutex> lock(all.mutex);
  while (all.count > 0) all.remove(all.count - 1);
}

}  // namespace deeplab

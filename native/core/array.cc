#include "core/array.h"

#include <algorithm>
#include <array>
#include <mutex>

namespace deeplab {
namespace {

constexpr size_t kPage = 4096;

// Few, and all at hand: keeping one must not need memory.
struct Kept {
  static constexpr size_t kBuffers = 64;
  std::mutex mutex;
  std::array<AlignedBuffer, kBuffers> buffers;  // the first `count`, longest kept first
  size_t count = 0;
  size_t bytes = 0;
  size_t used_bytes = 0;       // by those who took them
  size_t most_used_bytes = 0;  // at any time

  void use(size_t more) {
    used_bytes += more;
    most_used_bytes = std::max(most_used_bytes, used_bytes);
  }

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
#ifdef DEEPLAB_SANITIZE  // of the very size, and with NaNs in it for who relies on what it was
  DEEPLAB_RETURN_IF_ERROR(buffer->allocate(bytes));
  std::memset(buffer->data(), 0xff, bytes);
  return Status();
#endif
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
      all.use(buffer->size());
      return Status();
    }
    // What is kept must not make the process much larger than the work ever was.
    all.use(round_up(bytes, kPage));
    while (all.count > 0 && all.used_bytes + all.bytes > all.most_used_bytes / 8 * 9) all.remove(0);
  }
  const Status status = buffer->allocate(round_up(bytes, kPage));
  if (status.ok()) return status;
  Kept& all = kept();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.used_bytes -= round_up(bytes, kPage);
  return status;
}

void give_back_buffer(AlignedBuffer buffer) {
#ifdef DEEPLAB_SANITIZE  // nothing is kept: using it again must be seen
  return;
#endif
  if (buffer.size() == 0) return;
  Kept& all = kept();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.used_bytes -= buffer.size();
  if (buffer.size() > kKeptBytes) return;
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

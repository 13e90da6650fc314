#include "core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "core/array.h"

namespace deeplab {
namespace {

// The number in a one-number file of the control group; nothing where there is none, or "max".
size_t read_number(const char* path, size_t otherwise) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value ? value : otherwise;
}

}  // namespace

SystemMemory system_memory() {
  SystemMemory memory;
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  size_t kilobytes = 0;
  while (file >> key >> kilobytes) {
    std::getline(file, unit);
    if (key == "MemTotal:") memory.total_bytes = kilobytes * 1024;
    if (key == "MemAvailable:") memory.available_bytes = kilobytes * 1024;
  }
  const size_t limit = read_number("/sys/fs/cgroup/memory.max", 0);
  if (limit != 0 && limit < memory.total_bytes) {
    const size_t used = read_number("/sys/fs/cgroup/memory.current", 0);
    memory.total_bytes = limit;
    memory.available_bytes = std::min(memory.available_bytes, limit - std::min(used, limit));
  }
  return memory;
}

Status check_memory(size_t bytes, const char* purpose) {
  SystemMemory memory = system_memory();
  if (memory.total_bytes == 0 || bytes <= memory.available_bytes) return Status();
  free_kept_buffers();
  memory = system_memory();
  if (bytes <= memory.available_bytes) return Status();
  constexpr size_t kMebibyte = 1 << 20;
  return error(Code::kOutOfMemory, purpose, " needs ", bytes / kMebibyte, " MiB, ", memory.available_bytes / kMebibyte,
               " MiB are available");
}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  if (this == &other) return *this;
  free();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  mapped_ = std::exchange(other.mapped_, 0);
  return *this;
}

// Huge pages lie at multiples of their size: what is mapped before the first is given back, and small pages are the
// rest.
Status AlignedBuffer::allocate(size_t bytes) {
  free();
  if (bytes == 0) return Status();
#ifdef DEEPLAB_SANITIZE  // from malloc, so that the address sanitizer sees what lies beside it
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) return error(Code::kOutOfMemory, "cannot allocate ", bytes);
  data_ = static_cast<std::byte*>(std::memset(memory, 0, bytes));
  size_ = bytes;
  return Status();
#endif
  constexpr size_t kPage = 4096;
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t mapped = round_up(bytes, kPage);
  const size_t spare = bytes < kHugePage ? 0 : kHugePage;
  void* const map = mmap(nullptr, mapped + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return error(Code::kOutOfMemory, "cannot allocate ", bytes, " bytes");
  data_ = static_cast<std::byte*>(map);
  if (spare != 0) {
    const size_t before = round_up(reinterpret_cast<uintptr_t>(map), kHugePage) - reinterpret_cast<uintptr_t>(map);
    data_ += before;
    if (before != 0) munmap(map, before);
    if (before != spare) munmap(data_ + mapped, spare - before);
    madvise(data_, mapped, MADV_HUGEPAGE);  // a wish: refused where the system has none
  }
  mapped_ = mapped;
  size_ = bytes;
  return Status();
}

void AlignedBuffer::free() {
#ifdef DEEPLAB_SANITIZE
  std::free(data_);
#else
  if (data_ != nullptr) munmap(data_, mapped_);
#endif
  data_ = nullptr;
  size_ = mapped_ = 0;
}

}  // namespace deeplab

#include "core/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace deeplab {

Result<MemoryMap> MemoryMap::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return error(Code::kNotFound, "cannot open ", path, ": ", std::strerror(errno));
  MemoryMap map(path, file, nullptr, 0);
  struct stat info;
  if (fstat(file, &info) != 0) return error(Code::kNotFound, "cannot read ", path, ": ", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return error(Code::kNotFound, path, " is not a regular file");
  map.size_ = static_cast<size_t>(info.st_size);
  map.identity_ = {info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size), info.st_mtim.tv_sec,
                   info.st_mtim.tv_nsec};
  if (map.size_ == 0) return map;  // an empty mapping is an error of mmap's, an empty file is the reader's to judge
  void* data = mmap(nullptr, map.size_, PROT_READ, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED) return error(Code::kOutOfMemory, "cannot map ", path, ": ", std::strerror(errno));
  map.data_ = static_cast<const std::byte*>(data);
  return map;
}

MemoryMap::MemoryMap(MemoryMap&& other) noexcept { *this = std::move(other); }

MemoryMap& MemoryMap::operator=(MemoryMap&& other) noexcept {
  if (this == &other) return *this;
  close();
  path_ = std::move(other.path_);
  file_ = std::exchange(other.file_, -1);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  identity_ = other.identity_;
  return *this;
}

MemoryMap::~MemoryMap() { close(); }

void MemoryMap::close() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  if (file_ >= 0) ::close(file_);
}

Status MemoryMap::check_not_truncated() const {
  struct stat info;
  if (fstat(file_, &info) == 0 && static_cast<size_t>(info.st_size) >= size_) return Status();
  return error(Code::kInvalidWeights, path_, " was truncated while it was in use: replace a weights file by renaming");
}

void MemoryMap::release_pages() const {
  if (data_ != nullptr) madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

}  // namespace deeplab

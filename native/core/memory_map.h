// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "core/status.h"

namespace deeplab {

class MemoryMap {
 public:
  static Result<MemoryMap> open(const std::string& path);

  MemoryMap(MemoryMap&& other) noexcept;
  MemoryMap& operator=(MemoryMap&& other) noexcept;
  ~MemoryMap();

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

  // Reading a mapped page that the file no longer has would kill the process: ask before reading again.
  Status check_not_truncated() const;
  // Gives the pages read so far back to the system; reading them again fetches them from the file.
  void release_pages() const;

 private:
  MemoryMap(std::string path, int file, const std::byte* data, size_t size)
      : path_(std::move(path)), file_(file), data_(data), size_(size) {}
  void close();

  std::string path_;
  int file_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace deeplab

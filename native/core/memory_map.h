// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

#include "core/status.h"

namespace deeplab {

// What tells a file from every other, and from what it was before it was written to.
struct FileIdentity {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_seconds = 0, modified_nanoseconds = 0;

  bool operator<(const FileIdentity& other) const {
    return std::tie(device, inode, size, modified_seconds, modified_nanoseconds) <
           std::tie(other.device, other.inode, other.size, other.modified_seconds, other.modified_nanoseconds);
  }
};

class MemoryMap {
 public:
  static Result<MemoryMap> open(const std::string& path);

  MemoryMap(MemoryMap&& other) noexcept;
  MemoryMap& operator=(MemoryMap&& other) noexcept;
  ~MemoryMap();

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  // When it was opened. Nobody else's while the map lives.
  const FileIdentity& identity() const { return identity_; }

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
  FileIdentity identity_;
};

}  // namespace deeplab

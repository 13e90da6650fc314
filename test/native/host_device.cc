// The host in the place of a GPU: what device.h and device_algorithms.h declare and leave to others.

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <vector>

#include "backend/cuda/device_algorithms.h"
#include "core/memory.h"

namespace deeplab::cuda {

namespace {

// What was not written must not be read: NaNs, and indexes that lead nowhere.
constexpr uint8_t kPoison = 0xff;
constexpr std::align_val_t kAlignment{256};

}  // namespace

Status allocate_memory(Memory, size_t bytes, const char* purpose, void** data) {
  *data = ::operator new(bytes, kAlignment, std::nothrow);
  if (*data == nullptr) return error(Code::kOutOfMemory, purpose, " needs more memory than there is");
  std::memset(*data, kPoison, bytes);
  return Status();
}

void free_memory(Memory, void* data) { ::operator delete(data, kAlignment); }

Status check_device_memory(size_t bytes, const char* purpose) { return check_memory(bytes, purpose); }

Status select_device(int) { return Status(); }

Status copy_to_device(Stream, void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return Status();
}

Status copy_to_host(Stream stream, void* to, const void* from, size_t bytes) {
  return copy_to_device(stream, to, from, bytes);
}

Status copy_on_device(Stream stream, void* to, const void* from, size_t bytes) {
  return copy_to_device(stream, to, from, bytes);
}

Status fill(Stream, void* to, uint8_t value, size_t bytes) {
  if (bytes > 0) std::memset(to, value, bytes);
  return Status();
}

Status synchronize(Stream) { return Status(); }

// The host has done everything by the time a call returns.
OwnedStream::~OwnedStream() = default;
Status OwnedStream::create() { return Status(); }
Event::~Event() = default;
Status Event::create() { return Status(); }
Status Event::record(Stream) { return Status(); }
Status Event::hold(Stream) const { return Status(); }
Status Event::synchronize() const { return Status(); }
double Event::milliseconds_until(const Event&) const { return 0; }
CapturedGraph::~CapturedGraph() = default;
bool CapturedGraph::is_supported() { return false; }
Status CapturedGraph::begin(Stream) { return error(Code::kInternal, "the host has no CUDA graphs"); }
Status CapturedGraph::end(Stream) { return error(Code::kInternal, "the host has no CUDA graphs"); }
Status CapturedGraph::launch(Stream) const { return error(Code::kInternal, "the host has no CUDA graphs"); }

Result<size_t> algorithm_scratch_bytes(int64_t) { return size_t{1}; }

Status sort_pairs(Stream, void*, size_t, const uint64_t* keys, uint64_t* sorted_keys, const uint32_t* values,
                  uint32_t* sorted_values, int64_t count, int bits) {
  const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (keys[a] & mask) < (keys[b] & mask); });
  for (int64_t i = 0; i < count; ++i) {
    sorted_keys[i] = keys[order[i]];
    sorted_values[i] = values[order[i]];
  }
  return Status();
}

Status inclusive_sum(Stream, void*, size_t, const uint32_t* values, uint32_t* sums, int64_t count) {
  std::partial_sum(values, values + count, sums);
  return Status();
}

}  // namespace deeplab::cuda

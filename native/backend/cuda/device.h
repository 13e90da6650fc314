// A GPU as the rest of this folder sees it: its memory, its streams, and kernels that are ordinary functions of an
// index. What nvcc compiles runs on the GPU. What a C++ compiler compiles runs on the host, block after block and
// thread after thread with the same arithmetic on indices: so a machine without a GPU tests everything here but cuDNN.
//
// Nothing throws or exits: every call returns a Status. Functions that take a Stream return before the work is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/status.h"
#include "crf/real.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif

namespace deeplab::cuda {

#ifdef __CUDACC__
using Stream = cudaStream_t;
using EventHandle = cudaEvent_t;
using GraphHandle = cudaGraphExec_t;
#else
using Stream = struct HostStream*;
using EventHandle = struct HostEvent*;
using GraphHandle = struct HostGraph*;
#endif

enum class Memory {
  kDevice,  // of the current device, which the owner must have selected (select_device)
  kPinned,  // of the host, from and to which the device copies by itself
};

// ERR_OUT_OF_MEMORY, naming `purpose`, leaves the device usable.
Status allocate_memory(Memory memory, size_t bytes, const char* purpose, void** data);
void free_memory(Memory memory, void* data);

// Its content is undefined at first.
template <Memory kMemory>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { free(); }

  // Replaces the memory; a failure leaves none.
  Status allocate(size_t bytes, const char* purpose) {
    free();
    if (bytes == 0) return Status();
    void* data = nullptr;
    DEEPLAB_RETURN_IF_ERROR(allocate_memory(kMemory, bytes, purpose, &data));
    data_ = static_cast<std::byte*>(data);
    size_ = bytes;
    return Status();
  }
  // Keeps the memory if it is large enough.
  Status reserve(size_t bytes, const char* purpose) { return bytes <= size_ ? Status() : allocate(bytes, purpose); }
  void free() {
    if (data_ != nullptr) free_memory(kMemory, data_);
    data_ = nullptr;
    size_ = 0;
  }

  std::byte* data() const { return data_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

using DeviceBuffer = Buffer<Memory::kDevice>;
using PinnedBuffer = Buffer<Memory::kPinned>;

// ERR_OUT_OF_MEMORY if the device cannot have `bytes` free.
Status check_device_memory(size_t bytes, const char* purpose);

// Of this thread, for all calls that follow.
Status select_device(int index);

// A stream that waits for no other one.
class OwnedStream {
 public:
  OwnedStream() = default;
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  ~OwnedStream();
  Status create();
  Stream get() const { return stream_; }

 private:
  Stream stream_ = nullptr;
};

// A point in a stream's work.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();
  Status create();
  Status record(Stream stream);
  // What is given to `stream` from now on starts after this point.
  Status hold(Stream stream) const;
  // Waits until the point is reached.
  Status synchronize() const;
  // From this point to `end`, both reached.
  double milliseconds_until(const Event& end) const;

 private:
  EventHandle event_ = nullptr;
};

// Work that was recorded once and is started as a whole, which costs the host a fraction of starting its kernels.
class CapturedGraph {
 public:
  CapturedGraph() = default;
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  ~CapturedGraph();

  // Whether there are graphs: not on the host.
  static bool is_supported();
  // Between these two, the stream records its work instead of doing it. `end` is due even where recording failed.
  static Status begin(Stream stream);
  Status end(Stream stream);
  Status launch(Stream stream) const;

 private:
  GraphHandle graph_ = nullptr;
};

Status copy_to_device(Stream stream, void* to, const void* from, size_t bytes);
Status copy_to_host(Stream stream, void* to, const void* from, size_t bytes);
Status copy_on_device(Stream stream, void* to, const void* from, size_t bytes);
// Sets every byte to `value`.
Status fill(Stream stream, void* to, uint8_t value, size_t bytes);
// Waits until everything is done.
Status synchronize(Stream stream);

// ---- Kernels ----

constexpr int kBlockThreads = 256;

constexpr int64_t blocks_for(int64_t threads) { return (threads + kBlockThreads - 1) / kBlockThreads; }

// The element of a thread; past the end in the last block.
DEEPLAB_INLINE int64_t element_of(int64_t block, int64_t thread) { return block * kBlockThreads + thread; }

// Blocks of a launch whose number of elements only the device knows: each thread takes every (blocks *
// kBlockThreads)th element.
constexpr int64_t kCountedBlocks = 132 * 8;

#ifdef __CUDACC__

// ERR_OUT_OF_MEMORY, or ERR_DEVICE_FAILED; `what` says what was tried.
Status check(cudaError_t result, const char* what);

template <typename Body>
__global__ void __launch_bounds__(kBlockThreads) launch_kernel(int64_t count, Body body) {
  const int64_t i = element_of(blockIdx.x, threadIdx.x);
  if (i < count) body(i);
}

template <typename Body>
__global__ void __launch_bounds__(kBlockThreads)
    launch_counted_kernel(const uint32_t* count, int64_t factor, Body body) {
  const int64_t end = *count * factor, step = int64_t{gridDim.x} * kBlockThreads;
  for (int64_t i = element_of(blockIdx.x, threadIdx.x); i < end; i += step) body(i);
}

template <int kPhase, typename Body>
__device__ void run_phases(const Body& body, typename Body::State& state, typename Body::Shared& shared) {
  body.template run<kPhase>(int64_t{blockIdx.x}, static_cast<int>(threadIdx.x), state, shared);
  if constexpr (kPhase + 1 < Body::kPhases) {
    __syncthreads();
    run_phases<kPhase + 1>(body, state, shared);
  }
}

template <typename Body>
__global__ void __launch_bounds__(Body::kThreads) launch_blocks_kernel(Body body) {
  __shared__ typename Body::Shared shared;
  typename Body::State state;
  run_phases<0>(body, state, shared);
}

#endif

// body(i) for each i in [0, count), in any order.
template <typename Body>
Status launch(Stream stream, int64_t count, const Body& body) {
  if (count <= 0) return Status();
#ifdef __CUDACC__
  if (blocks_for(count) > INT32_MAX) return error(Code::kOutOfMemory, "an image is too large for one GPU kernel");
  launch_kernel<<<static_cast<unsigned>(blocks_for(count)), kBlockThreads, 0, stream>>>(count, body);
  return check(cudaGetLastError(), "a kernel's launch");
#else
  (void)stream;
  for (int64_t block = 0; block < blocks_for(count); ++block) {
    for (int64_t thread = 0; thread < kBlockThreads; ++thread) {
      if (const int64_t i = element_of(block, thread); i < count) body(i);
    }
  }
  return Status();
#endif
}

// body(i) for each i in [0, *count * factor); `count` is in device memory and read when the kernel runs.
template <typename Body>
Status launch_counted(Stream stream, const uint32_t* count, int64_t factor, const Body& body) {
#ifdef __CUDACC__
  launch_counted_kernel<<<kCountedBlocks, kBlockThreads, 0, stream>>>(count, factor, body);
  return check(cudaGetLastError(), "a kernel's launch");
#else
  (void)stream;
  const int64_t end = *count * factor, step = kCountedBlocks * kBlockThreads;
  for (int64_t first = 0; first < step; ++first) {
    for (int64_t i = element_of(first / kBlockThreads, first % kBlockThreads); i < end; i += step) body(i);
  }
  return Status();
#endif
}

#ifndef __CUDACC__
template <int kPhase, typename Body>
void run_phases(const Body& body, int64_t block, typename Body::State* states, typename Body::Shared& shared) {
  for (int thread = 0; thread < Body::kThreads; ++thread) {
    body.template run<kPhase>(block, thread, states[thread], shared);
  }
  if constexpr (kPhase + 1 < Body::kPhases) run_phases<kPhase + 1>(body, block, states, shared);
}
#endif

// `blocks` blocks of threads that work together, in phases: every thread of a block ends a phase before any starts the
// next. A Body has
//   static constexpr int kThreads, kPhases;
//   struct State;   // of a thread, kept from phase to phase
//   struct Shared;  // of a block, at most 48 KiB
//   template <int kPhase> DEEPLAB_INLINE void run(int64_t block, int thread, State& state, Shared& shared) const;
template <typename Body>
Status launch_blocks(Stream stream, int64_t blocks, const Body& body) {
  if (blocks <= 0) return Status();
#ifdef __CUDACC__
  if (blocks > INT32_MAX) return error(Code::kOutOfMemory, "an image is too large for one GPU kernel");
  launch_blocks_kernel<<<static_cast<unsigned>(blocks), Body::kThreads, 0, stream>>>(body);
  return check(cudaGetLastError(), "a kernel's launch");
#else
  (void)stream;
  for (int64_t block = 0; block < blocks; ++block) {
    typename Body::State states[Body::kThreads];
    typename Body::Shared shared;
    run_phases<0>(body, block, states, shared);
  }
  return Status();
#endif
}

}  // namespace deeplab::cuda

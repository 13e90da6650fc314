#include "backend/cuda/device.h"

#ifndef __CUDACC__
#include <algorithm>
#include <cstring>
#include <new>

#include "core/memory.h"
#endif

namespace deeplab::cuda {

#ifdef __CUDACC__

Status check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return Status();
  cudaGetLastError();  // forgets an error that leaves the device usable
  if (result == cudaErrorMemoryAllocation) {
    return error(Code::kOutOfMemory, what, " needs more GPU memory than there is");
  }
  return error(Code::kDeviceFailed, what, " failed on the GPU: ", cudaGetErrorString(result), " (",
               cudaGetErrorName(result), ")");
}

Status check_device_memory(size_t bytes, const char* purpose) {
  size_t available = 0, total = 0;
  DEEPLAB_RETURN_IF_ERROR(check(cudaMemGetInfo(&available, &total), "asking for the GPU's memory"));
  if (bytes <= available) return Status();
  return error(Code::kOutOfMemory, purpose, " needs ", bytes >> 20, " MiB of GPU memory, but only ", available >> 20,
               " of ", total >> 20, " MiB are available");
}

Status DeviceBuffer::allocate(size_t bytes, const char* purpose) {
  free();
  if (bytes == 0) return Status();
  void* data = nullptr;
  const cudaError_t result = cudaMalloc(&data, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    DEEPLAB_RETURN_IF_ERROR(check_device_memory(bytes, purpose));  // which has the figures
  }
  DEEPLAB_RETURN_IF_ERROR(check(result, purpose));
  data_ = static_cast<std::byte*>(data);
  size_ = bytes;
  return Status();
}

void DeviceBuffer::free() {
  if (data_ != nullptr) cudaFree(data_);
  data_ = nullptr;
  size_ = 0;
}

Status PinnedBuffer::allocate(size_t bytes, const char* purpose) {
  free();
  if (bytes == 0) return Status();
  void* data = nullptr;
  DEEPLAB_RETURN_IF_ERROR(check(cudaMallocHost(&data, bytes), purpose));
  data_ = static_cast<std::byte*>(data);
  size_ = bytes;
  return Status();
}

void PinnedBuffer::free() {
  if (data_ != nullptr) cudaFreeHost(data_);
  data_ = nullptr;
  size_ = 0;
}

Status select_device(int index) { return check(cudaSetDevice(index), "selecting the device"); }

Status copy_to_device(Stream stream, void* to, const void* from, size_t bytes) {
  return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "a copy to the device");
}

Status copy_to_host(Stream stream, void* to, const void* from, size_t bytes) {
  return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "a copy to the host");
}

Status copy_on_device(Stream stream, void* to, const void* from, size_t bytes) {
  return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "a copy on the device");
}

Status fill(Stream stream, void* to, uint8_t value, size_t bytes) {
  return check(cudaMemsetAsync(to, value, bytes, stream), "a fill");
}

Status synchronize(Stream stream) { return check(cudaStreamSynchronize(stream), "the computation"); }

OwnedStream::~OwnedStream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}
Status OwnedStream::create() { return check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"); }

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}
// A waiting host thread sleeps instead of spinning: the core is the server's.
Status Event::create() { return check(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync), "an event"); }
Status Event::record(Stream stream) { return check(cudaEventRecord(event_, stream), "an event"); }
Status Event::hold(Stream stream) const { return check(cudaStreamWaitEvent(stream, event_), "an event"); }
Status Event::synchronize() const { return check(cudaEventSynchronize(event_), "the computation"); }
double Event::milliseconds_until(const Event& end) const {
  float milliseconds = 0;
  return cudaEventElapsedTime(&milliseconds, event_, end.event_) == cudaSuccess ? milliseconds : 0;
}

CapturedGraph::~CapturedGraph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}
bool CapturedGraph::is_supported() { return true; }
Status CapturedGraph::begin(Stream stream) {
  return check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a CUDA graph");
}
Status CapturedGraph::end(Stream stream) {
  cudaGraph_t recorded = nullptr;
  DEEPLAB_RETURN_IF_ERROR(check(cudaStreamEndCapture(stream, &recorded), "recording a CUDA graph"));
  const cudaError_t result = cudaGraphInstantiate(&graph_, recorded, 0);
  cudaGraphDestroy(recorded);
  return check(result, "making a CUDA graph");
}
Status CapturedGraph::launch(Stream stream) const {
  return check(cudaGraphLaunch(graph_, stream), "starting a CUDA graph");
}

#else

namespace {

// What was not written must not be read: NaNs, and indexes that lead nowhere.
constexpr uint8_t kPoison = 0xff;

Status allocate_host(size_t bytes, const char* purpose, std::byte** data) {
  *data = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(256), std::nothrow));
  if (*data == nullptr) return error(Code::kOutOfMemory, purpose, " needs more memory than there is");
  std::memset(*data, kPoison, bytes);
  return Status();
}

void free_host(std::byte* data) { ::operator delete(data, std::align_val_t(256)); }

}  // namespace

Status check_device_memory(size_t bytes, const char* purpose) { return check_memory(bytes, purpose); }

Status DeviceBuffer::allocate(size_t bytes, const char* purpose) {
  free();
  if (bytes == 0) return Status();
  DEEPLAB_RETURN_IF_ERROR(allocate_host(bytes, purpose, &data_));
  size_ = bytes;
  return Status();
}

void DeviceBuffer::free() {
  if (data_ != nullptr) free_host(data_);
  data_ = nullptr;
  size_ = 0;
}

Status PinnedBuffer::allocate(size_t bytes, const char* purpose) {
  free();
  if (bytes == 0) return Status();
  DEEPLAB_RETURN_IF_ERROR(allocate_host(bytes, purpose, &data_));
  size_ = bytes;
  return Status();
}

void PinnedBuffer::free() {
  if (data_ != nullptr) free_host(data_);
  data_ = nullptr;
  size_ = 0;
}

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

#endif

}  // namespace deeplab::cuda

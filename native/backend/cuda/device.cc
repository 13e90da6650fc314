#include "backend/cuda/device.h"

namespace deeplab::cuda {

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

Status allocate_memory(Memory memory, size_t bytes, const char* purpose, void** data) {
  if (memory == Memory::kPinned) return check(cudaMallocHost(data, bytes), purpose);
  const cudaError_t result = cudaMalloc(data, bytes);
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    DEEPLAB_RETURN_IF_ERROR(check_device_memory(bytes, purpose));  // which has the figures
  }
  return check(result, purpose);
}

void free_memory(Memory memory, void* data) { memory == Memory::kPinned ? cudaFreeHost(data) : cudaFree(data); }

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

}  // namespace deeplab::cuda

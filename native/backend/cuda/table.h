// Small tables that kernels read.
#pragma once

#include <memory>
#include <vector>

#include "backend/cuda/device.h"

namespace deeplab::cuda {

// A copy of `table` in device memory. Waits until it is there.
template <typename T>
Result<std::shared_ptr<const DeviceBuffer>> upload_table(Stream stream, const std::vector<T>& table) {
  auto buffer = std::make_shared<DeviceBuffer>();
  const size_t bytes = table.size() * sizeof(T);
  DEEPLAB_RETURN_IF_ERROR(buffer->allocate(bytes, "a layer's table"));
  DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, buffer->data(), table.data(), bytes));
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream));
  return std::shared_ptr<const DeviceBuffer>(std::move(buffer));
}

}  // namespace deeplab::cuda

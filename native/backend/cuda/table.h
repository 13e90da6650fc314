// Small tables that kernels read.
#pragma once

#include <memory>
#include <vector>

#include "backend/bilinear.h"
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

// Where the rows and columns of an output lie in an input, for a kernel that interpolates.
struct DeviceTaps {
  std::shared_ptr<const DeviceBuffer> row_table, column_table;

  const BilinearTap* rows() const { return row_table->as<BilinearTap>(); }
  const BilinearTap* columns() const { return column_table->as<BilinearTap>(); }
};

inline Result<DeviceTaps> upload_taps(Stream stream, const std::vector<BilinearTap>& rows,
                                      const std::vector<BilinearTap>& columns) {
  auto row_table = upload_table(stream, rows);
  if (!row_table.ok()) return row_table.status();
  auto column_table = upload_table(stream, columns);
  if (!column_table.ok()) return column_table.status();
  return DeviceTaps{*row_table, *column_table};
}

}  // namespace deeplab::cuda

// Unary potentials from the host as mean_field.h wants them: rows of energies in device memory.
#pragma once

#include "backend/cuda/device.h"
#include "crf/parameters.h"

namespace deeplab::cuda {

// -> rows [points, row_stride(classes)]. Waits. ERR_INVALID_ARGUMENT for the first point whose values are none.
Status write_unary(Stream stream, const CrfUnary& unary, int64_t width, int64_t points, float* rows);

}  // namespace deeplab::cuda

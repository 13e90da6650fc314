// The CUDA backend on the host, for machines without a GPU: its own memory plan, kernels, head, CRF and order of work,
// with plain loops in the place of cuDNN.
#pragma once

#include "backend/backend.h"

namespace deeplab::cuda {

Backend* host_backend();

}  // namespace deeplab::cuda

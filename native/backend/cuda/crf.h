// The fully connected CRF of one image without a network: backend.h's Crf.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace deeplab::cuda {

// On `device`. `pixels` are in host memory. There is room for `capacity` vertices in each lattice at first; 0: for as
// many as the image probably needs.
Result<std::unique_ptr<Crf>> build_crf(int device, const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                       int64_t capacity = 0);

// Device memory that such a CRF's inference takes: Backend's crf_inference_bytes().
size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes, bool marginals);

}  // namespace deeplab::cuda

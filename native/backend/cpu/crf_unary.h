// Unary potentials as mean_field.h wants them: rows of energies, a row for each point.
#pragma once

#include <atomic>

#include "core/status.h"
#include "crf/parameters.h"

namespace deeplab {

// -> rows [points, row_stride(classes)]. ERR_INVALID_ARGUMENT for the first point whose values are none; ERR_ABORTED
// soon after `cancelled` has become true.
Status write_unary(const CrfUnary& unary, int64_t width, int64_t points, float* rows,
                   const std::atomic<bool>& cancelled);

// Energies of one point's logits: -log softmax, of probabilities that are raised to kCrfProbabilityFloor.
void write_unary_of_logits(const float* logits, int64_t classes, float* row);

}  // namespace deeplab

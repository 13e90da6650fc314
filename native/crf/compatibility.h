// What it costs two pixels of a pairwise term to have different labels, as mean field reads it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/status.h"

namespace deeplab {

enum class CompatibilityKind { kPotts, kClasses, kMatrix };

// Of term number `term`. ERR_INVALID_ARGUMENT unless there are 1, `classes` or `classes` * `classes` numbers.
Result<CompatibilityKind> compatibility_kind(const std::vector<float>& numbers, size_t term, int64_t classes);

// The numbers times `gain`, in rows of `stride` floats: one row of classes, or one for each class.
std::vector<float> compatibility_table(const std::vector<float>& numbers, int64_t classes, int64_t stride, float gain);

}  // namespace deeplab

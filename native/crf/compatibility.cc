#include "crf/compatibility.h"

namespace deeplab {

Result<CompatibilityKind> compatibility_kind(const std::vector<float>& numbers, size_t term, int64_t classes) {
  const size_t given = numbers.size();
  if (given == 1) return CompatibilityKind::kPotts;
  if (given == static_cast<size_t>(classes)) return CompatibilityKind::kClasses;
  if (given == static_cast<size_t>(classes * classes)) return CompatibilityKind::kMatrix;
  return error(Code::kInvalidArgument, "Expected 1, ", classes, " or ", classes, "x", classes,
               " numbers for the compatibility of term ", term, " but received ", given);
}

std::vector<float> compatibility_table(const std::vector<float>& numbers, int64_t classes, int64_t stride, float gain) {
  const auto count = static_cast<int64_t>(numbers.size());
  std::vector<float> table(count / classes * stride, 0.0f);
  for (int64_t i = 0; i < count; ++i) table[i / classes * stride + i % classes] = numbers[i] * gain;
  return table;
}

}  // namespace deeplab

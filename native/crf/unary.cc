#include "crf/unary.h"

#include <cmath>

namespace deeplab {

LabelEnergies label_energies(const CrfUnary& unary) {
  return {static_cast<float>(-std::log(unary.gt_prob)),
          static_cast<float>(-std::log((1.0 - unary.gt_prob) / (unary.classes - 1))),
          static_cast<float>(-std::log(1.0 / unary.classes))};
}

Status bad_unary(const CrfUnary& unary, int64_t width, int64_t points, int64_t point) {
  const int64_t x = point % width, y = point / width;
  if (unary.kind == CrfUnary::Kind::kLabels) {
    return error(Code::kInvalidArgument, "Expected labels below ", unary.classes, " but pixel (", x, ", ", y, ") has ",
                 static_cast<int>(unary.labels[point]));
  }
  const bool probabilities = unary.kind == CrfUnary::Kind::kProbabilities;
  double sum = 0;
  float odd = 0;
  for (int64_t c = 0; c < unary.classes; ++c) {
    const float value = unary.values[c * points + point];
    sum += value;
    if (!std::isfinite(value) || (probabilities ? value < 0 : std::abs(value) > kMaxEnergy)) odd = value;
  }
  if (!probabilities) {
    return error(Code::kInvalidArgument, "Expected energies from -1e9 to 1e9 for unary but pixel (", x, ", ", y,
                 ") has ", odd);
  }
  if (odd != 0 || std::isnan(odd)) {
    return error(Code::kInvalidArgument, "Expected numbers from 0 to 1 for probabilities but pixel (", x, ", ", y,
                 ") has ", odd);
  }
  return error(Code::kInvalidArgument, "Expected probabilities that sum to 1 but those of pixel (", x, ", ", y,
               ") sum to ", sum);
}

}  // namespace deeplab

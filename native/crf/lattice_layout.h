// How the vertices of a kernel's lattice are coded, which only the range of its features decides: known before any
// pixel is seen, unless the features are given.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "crf/parameters.h"
#include "crf/vertex_code.h"

namespace deeplab {

// The points of an image as a kernel sees them.
struct LatticePoints {
  const CrfTerm& term;
  CrfCoordinates coordinates = CrfCoordinates::kYX;
  int64_t width = 0;
  int64_t height = 0;
  const uint8_t* pixels = nullptr;  // [H,W,channels], for bilateral kernels
  int64_t channels = 3;             // 1 (grey), 3 or 4 (alpha ignored)

  int64_t count() const { return width * height; }
};

// What each feature ranges over: low[dimensions], high[dimensions]. ERR_INVALID_ARGUMENT where one is not finite.
Status feature_ranges(const LatticePoints& points, float* low, float* high);

// Does not read the pixels. ERR_INVALID_ARGUMENT for features that are not finite or too far from zero,
// ERR_OUT_OF_MEMORY where 32 bits cannot number the points' corners.
Result<CodeLayout> lattice_layout(const LatticePoints& points);

}  // namespace deeplab

// The features of an image's points, as a kernel sees them: sixteen points at a time, a point in each lane.
#pragma once

#include "backend/cpu/lattice.h"
#include "backend/cpu/vector.h"

namespace deeplab {

// Sixteen points in their simplices: of each point in a lane, what crf/lattice.h computes.
struct LocatedPoints {
  float origin[kMaxCrfDimensions + 1][kLanes];
  float rank[kMaxCrfDimensions + 1][kLanes];
  float weight[kMaxCrfDimensions + 1][kLanes];
};

// Points [first, first + count), count at most kLanes.
void locate_points(const LatticePoints& points, const float* scales, int64_t first, int64_t count,
                   LocatedPoints* located);

}  // namespace deeplab

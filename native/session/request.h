// What a caller asks a session for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "graph/scales.h"
#include "session/tiles.h"
#include "session/worker.h"

namespace deeplab {

struct SegmentRequest {
  uint64_t id = 0;
  Priority priority = Priority::kInteractive;
  Shape image;                   // [1,channels,H,W]
  std::vector<uint8_t> pixels;   // [H,W,channels]
  InferenceMode mode;            // checked
  std::optional<Tiling> tiling;  // checked; the image in tiles, each in that mode
  std::optional<CrfParameters> crf;
  RunOutput output;  // must stay valid until `done`
  Worker::TaskDone done;
};

}  // namespace deeplab

// An image in overlapping tiles, whose logits are blended: inference in the memory of one tile, whatever the image's
// size.
//
// Tiles begin at multiples of the network's output stride, so that the cells of their logits are cells of the whole
// image's logits: a cell that sees nothing of a tile's edge is the very cell of the whole image. Those that do see it,
// where there is padding instead of image, count the less the nearer they are to it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/status.h"
#include "core/tensor.h"

namespace deeplab {

struct Tiling {
  int size = 513;     // side of a tile in pixels
  int overlap = 128;  // pixels that neighbours share, at least; less than `size`
};

// Pixels [start, start + size) of one axis.
struct TileSpan {
  int64_t start = 0;
  int64_t size = 0;
};

// Tiles along an axis of `length` pixels: one, if that is enough; else of a size that is a multiple of `stride` and one
// pixel more, the last one maybe smaller, by less than a stride, evenly spread.
std::vector<TileSpan> tile_spans(int64_t length, const Tiling& tiling, int stride);

// Blends the logits of tiles, [classes,h,w] each, into those of the whole image.
class TileBlender {
 public:
  TileBlender(const Shape& logits, std::vector<TileSpan> rows, std::vector<TileSpan> columns, int stride);

  // The logits of tile (row, column), [classes,h,w].
  void add(size_t row, size_t column, const float* logits, int64_t height, int64_t width);
  // [classes,h,w], once all tiles are in.
  const float* logits() const { return logits_.data(); }

 private:
  // Along one axis: for each tile the weights of its cells, which sum up to 1 over the tiles in every cell of the
  // whole.
  struct Axis {
    std::vector<int64_t> starts;  // first cell of each tile
    std::vector<std::vector<float>> weights;
  };
  static Axis weigh(const std::vector<TileSpan>& spans, int64_t cells, int stride);

  const Shape shape_;
  const Axis rows_, columns_;
  std::vector<float> logits_;
};

}  // namespace deeplab

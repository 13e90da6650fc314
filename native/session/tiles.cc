#include "session/tiles.h"

#include <algorithm>

namespace deeplab {

std::vector<TileSpan> tile_spans(int64_t length, const Tiling& tiling, int stride) {
  // A tile of n strides and a pixel has n + 1 cells, the outermost on its edges.
  const int64_t size = std::max<int64_t>((tiling.size - 1) / stride, 1) * stride + 1;
  if (length <= size) return {{0, length}};
  const int64_t cells = (length - size + stride - 1) / stride;  // of the way from the first tile to the last
  const int64_t overlap = (tiling.overlap + stride - 1) / stride;
  const int64_t most_step = std::max<int64_t>((size - 1) / stride - overlap, 1);
  const int64_t steps = (cells + most_step - 1) / most_step;
  std::vector<TileSpan> spans;
  for (int64_t i = 0; i <= steps; ++i) {
    const int64_t start = i * cells / steps * stride;
    spans.push_back({start, std::min(size, length - start)});
  }
  return spans;
}

TileBlender::Axis TileBlender::weigh(const std::vector<TileSpan>& spans, int64_t cells, int stride) {
  Axis axis;
  std::vector<float> sums(cells);
  for (size_t i = 0; i < spans.size(); ++i) {
    const int64_t start = spans[i].start / stride;
    const int64_t end =
        i + 1 < spans.size() ? std::min((spans[i].start + spans[i].size - 1) / stride + 1, cells) : cells;
    std::vector<float> weights(end - start);
    for (int64_t cell = start; cell < end; ++cell) {
      // Cells to the nearest edge that is inside the image.
      int64_t distance = cells;
      if (i > 0) distance = std::min(distance, cell - start + 1);
      if (i + 1 < spans.size()) distance = std::min(distance, end - cell);
      weights[cell - start] = static_cast<float>(distance);
      sums[cell] += static_cast<float>(distance);
    }
    axis.starts.push_back(start);
    axis.weights.push_back(std::move(weights));
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    for (size_t j = 0; j < axis.weights[i].size(); ++j) axis.weights[i][j] /= sums[axis.starts[i] + j];
  }
  return axis;
}

TileBlender::TileBlender(const Shape& logits, std::vector<TileSpan> rows, std::vector<TileSpan> columns, int stride)
    : shape_(logits),
      rows_(weigh(rows, logits.h, stride)),
      columns_(weigh(columns, logits.w, stride)),
      logits_(logits.elements()) {}

void TileBlender::add(size_t row, size_t column, const float* logits, int64_t height, int64_t width) {
  const auto &down = rows_.weights[row], &across = columns_.weights[column];
  const int64_t top = rows_.starts[row], left = columns_.starts[column];
  // A network may give a cell more than there are pixels for (PaddingRule::kCeil): another tile has it from the inside.
  const int64_t rows = std::min<int64_t>(height, static_cast<int64_t>(down.size()));
  const int64_t columns = std::min<int64_t>(width, static_cast<int64_t>(across.size()));
  for (int64_t c = 0; c < shape_.c; ++c) {
    for (int64_t y = 0; y < rows; ++y) {
      const float* from = logits + (c * height + y) * width;
      float* out = logits_.data() + (c * shape_.h + top + y) * shape_.w + left;
      for (int64_t x = 0; x < columns; ++x) out[x] += from[x] * (down[y] * across[x]);
    }
  }
}

}  // namespace deeplab

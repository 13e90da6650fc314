#include <cmath>

#include "backend/bilinear.h"
#include "backend/cpu/crf_unary.h"
#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/vector.h"

namespace deeplab {
namespace {

// Pixels of a row that lie between the same two columns of the grid.
struct ColumnRun {
  int64_t first, count;
  int64_t low, high;  // columns
};

using Labels = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

// The labels of a row of pixels, of logits [grid width, classes] that lie `fraction` of the way from `low` to `high`.
// `columns` are the pixels' own fractions, with kLanes more behind the last; `blended` has room for a row of logits.
DEEPLAB_MULTIVERSION
void label_row(const float* low, const float* high, float fraction, int64_t grid_width, int64_t classes,
               const ColumnRun* runs, int64_t run_count, const float* columns, float* blended, uint8_t* labels) {
  for (int64_t i = 0; i < grid_width * classes; ++i) blended[i] = low[i] + (high[i] - low[i]) * fraction;
  for (int64_t r = 0; r < run_count; ++r) {
    const ColumnRun& run = runs[r];
    const float *left = blended + run.low * classes, *right = blended + run.high * classes;
    for (int64_t i = 0; i < run.count; i += kLanes) {  // the lanes behind the run are computed in vain
      const Floats across = load(columns + run.first + i);
      Floats most = left[0] + (right[0] - left[0]) * across;
      Labels best = {};
      for (int64_t c = 1; c < classes; ++c) {
        const Floats value = left[c] + (right[c] - left[c]) * across;
        const auto better = value > most;
        most = better ? value : most;
        best = better ? Labels{} + static_cast<int32_t>(c) : best;
      }
      const int64_t count = std::min(kLanes, run.count - i);
      for (int64_t lane = 0; lane < count; ++lane) labels[run.first + i + lane] = static_cast<uint8_t>(best[lane]);
    }
  }
}

struct Head {
  Shape logits;  // stored [N,h,w,classes]
  Shape image;
  std::vector<BilinearTap> rows;
  std::vector<BilinearTap> columns;
  std::vector<ColumnRun> runs;          // of `columns`
  std::vector<float> column_fractions;  // and kLanes zeros

  Head(const Shape& grid, const Shape& picture, std::vector<BilinearTap> row_taps, std::vector<BilinearTap> column_taps)
      : logits(grid), image(picture), rows(std::move(row_taps)), columns(std::move(column_taps)) {
    for (int64_t x = 0; x < image.w; ++x) {
      const BilinearTap& tap = columns[x];
      if (runs.empty() || runs.back().low != tap.low || runs.back().high != tap.high) {
        runs.push_back({x, 0, tap.low, tap.high});
      }
      ++runs.back().count;
      column_fractions.push_back(tap.fraction);
    }
    column_fractions.resize(image.w + kLanes);
  }

  // Calls write(x, logits of pixel x) along row y of image n. `blended` has room for a row of logits.
  template <typename Write>
  void for_each_pixel(const float* all_logits, int64_t n, int64_t y, float* blended, const Write& write) const {
    const int64_t classes = logits.c, row = logits.w * classes;
    const float* low = all_logits + (n * logits.h + rows[y].low) * row;
    const float* high = all_logits + (n * logits.h + rows[y].high) * row;
    for (int64_t i = 0; i < row; ++i) blended[i] = low[i] + (high[i] - low[i]) * rows[y].fraction;

    float pixel[kMaxClasses];
    for (int64_t x = 0; x < image.w; ++x) {
      const float* left = blended + columns[x].low * classes;
      const float* right = blended + columns[x].high * classes;
      for (int64_t c = 0; c < classes; ++c) pixel[c] = left[c] + (right[c] - left[c]) * columns[x].fraction;
      write(x, pixel);
    }
  }

  // Row y of image n: its labels.
  void write_labels(const float* all_logits, int64_t n, int64_t y, float* blended, uint8_t* labels) const {
    const int64_t row = logits.w * logits.c;
    const float* grid = all_logits + n * logits.h * row;
    label_row(grid + rows[y].low * row, grid + rows[y].high * row, rows[y].fraction, logits.w, logits.c, runs.data(),
              static_cast<int64_t>(runs.size()), column_fractions.data(), blended,
              labels + (n * image.h + y) * image.w);
  }

  // Row y of image n: its labels and scores.
  void write_scores(const float* all_logits, int64_t n, int64_t y, float* blended, uint8_t* labels,
                    float* scores) const {
    for_each_pixel(all_logits, n, y, blended, [&](int64_t x, float* pixel) {
      const auto best = std::max_element(pixel, pixel + logits.c);
      labels[(n * image.h + y) * image.w + x] = static_cast<uint8_t>(best - pixel);
      write_softmax(pixel, *best, scores + (n * logits.c * image.h + y) * image.w + x);
    });
  }

  // Row y of image n: the unary potentials of a CRF.
  void write_unary(const float* all_logits, int64_t n, int64_t y, float* blended, float* unary) const {
    const int64_t stride = row_stride(logits.c);
    float* const row = unary + (n * image.h + y) * image.w * stride;
    for_each_pixel(all_logits, n, y, blended,
                   [&](int64_t x, const float* pixel) { write_unary_of_logits(pixel, logits.c, row + x * stride); });
  }

  // exp(x - max) / sum, with the classes a whole image apart: [N,classes,H,W].
  void write_softmax(float* pixel, float max, float* scores) const {
    float sum = 0;
    for (int64_t c = 0; c < logits.c; ++c) sum += pixel[c] = std::exp(pixel[c] - max);
    for (int64_t c = 0; c < logits.c; ++c) scores[c * image.h * image.w] = pixel[c] / sum;
  }

  // [N,h,w,classes] -> [N,classes,h,w]
  void write_logits(const float* all_logits, float* out) const {
    const int64_t area = logits.h * logits.w;
    parallel_for(logits.n * logits.c, [&](int64_t i) {
      const float* from = all_logits + (i / logits.c) * area * logits.c + i % logits.c;
      for (int64_t p = 0; p < area; ++p) out[i * area + p] = from[p * logits.c];
    });
  }
};

}  // namespace

Step compile_segmentation_head(const SegmentationHead& op, const Shape& logits, const Shape& image, int threads) {
  const InputGeometry geometry = input_geometry(op.config, image.h, image.w);
  const Upsample upsample = op.config.upsample;
  const Head head{logits, image, upsample_taps(upsample, image.h, geometry.height, geometry.padded_height, logits.h),
                  upsample_taps(upsample, image.w, geometry.width, geometry.padded_width, logits.w)};
  const size_t row = logits.w * logits.c;
  return {"loop", threads * row * sizeof(float), [head, row](const StepContext& context, const StepMemory& at) {
            const auto* grid = context.at<float>(at.inputs[0]);
            const bool pixels = context.unary != nullptr || context.output.labels != nullptr;
            parallel_for(pixels ? head.image.n * head.image.h : 0, [&](int64_t i) {
              float* blended = context.at<float>(at.scratch) + thread_index() * row;
              const int64_t n = i / head.image.h, y = i % head.image.h;
              if (context.unary != nullptr) {
                head.write_unary(grid, n, y, blended, context.unary);
              } else if (context.output.scores != nullptr) {
                head.write_scores(grid, n, y, blended, context.output.labels, context.output.scores);
              } else {
                head.write_labels(grid, n, y, blended, context.output.labels);
              }
            });
            if (context.output.logits != nullptr) head.write_logits(grid, context.output.logits);
          }};
}

Step compile_given_logits(const Shape& output) {
  return {"loop", 0, [output](const StepContext& context, const StepMemory& at) {
            const int64_t area = output.h * output.w;
            parallel_for(output.n * area, [&](int64_t i) {
              const float* from = context.input.logits + i / area * output.c * area + i % area;
              float* out = context.at<float>(at.output) + i * output.c;
              for (int64_t c = 0; c < output.c; ++c) out[c] = from[c * area];
            });
          }};
}

}  // namespace deeplab

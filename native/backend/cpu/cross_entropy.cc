// The loss: softmax cross-entropy of the logits against labels, on the logits' grid or at the image's size, and its
// gradient. Sums go over rows, and over them in order, so that they are the same however many threads there are.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/bilinear.h"
#include "backend/cpu/element.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/training_step.h"
#include "graph/shapes.h"

namespace deeplab {
namespace {

struct Loss {
  Shape logits;
  Shape images;
  int ignore_label;
  std::vector<float> weights;                      // of classes
  std::vector<int64_t> rows, columns;              // kLogits: the pixel of each cell
  std::vector<BilinearTap> row_taps, column_taps;  // kImage: the cells of each pixel

  int64_t classes() const { return logits.c; }
  bool on_grid() const { return !rows.empty(); }
  // Rows and columns of what is compared with labels.
  int64_t height() const { return on_grid() ? logits.h : images.h; }
  int64_t width() const { return on_grid() ? logits.w : images.w; }

  int label(const TrainingBatch& batch, int64_t n, int64_t y, int64_t x) const {
    const int64_t row = on_grid() ? rows[y] : y, column = on_grid() ? columns[x] : x;
    return batch.labels[(n * images.h + row) * images.w + column];
  }
  float weight(int label) const { return label == ignore_label ? 0.0f : weights[label]; }

  // Scratch: a sum per row of the images or the grid; then, at the image's size, the gradient of rows of logits, which
  // are upsampled along the columns only: [N,H,w,classes].
  size_t sums() const { return static_cast<size_t>(images.n * height()); }
  size_t scratch_bytes() const {
    const size_t gradient = on_grid() ? 0 : images.n * images.h * logits.w * classes();
    return sums() * sizeof(double) + gradient * sizeof(float);
  }

  double total_weight(const TrainingBatch& batch, double* sums) const {
    parallel_for(images.n * height(), [&](int64_t i) {
      double sum = 0;
      for (int64_t x = 0; x < width(); ++x) sum += weight(label(batch, i / height(), i % height(), x));
      sums[i] = sum;
    });
    return sum_of(sums);
  }
  double sum_of(const double* sums) const {
    double sum = 0;
    for (int64_t i = 0; i < images.n * height(); ++i) sum += sums[i];
    return sum;
  }

  // -log softmax of the label, and in place of the logits its gradient times `factor`.
  double differentiate(float* pixel, int label, float factor) const {
    float max = pixel[0];
    for (int64_t c = 1; c < classes(); ++c) max = std::max(max, pixel[c]);
    const float of_label = pixel[label] - max;
    float sum = 0;
    for (int64_t c = 0; c < classes(); ++c) sum += pixel[c] = std::exp(pixel[c] - max);
    for (int64_t c = 0; c < classes(); ++c) pixel[c] *= factor / sum;
    pixel[label] -= factor;
    return std::log(sum) - of_label;
  }

  template <typename T>
  void run(const TrainingContext& context, const TrainingStepMemory& at) const {
    auto* const sums = context.at<double>(at.backward_scratch);
    auto* const row_gradients = reinterpret_cast<float*>(sums + this->sums());
    const T* values = context.at<T>(at.inputs[0]);
    T* gradient = context.at<T>(at.input_gradients[0]);
    const double total = total_weight(context.batch, sums);
    const double per_weight = total > 0 ? context.batch.scale / total : 0;
    parallel_for(images.n * height(), [&](int64_t i) {
      const int64_t n = i / height(), y = i % height();
      sums[i] = on_grid() ? grid_row(context.batch, values, n, y, per_weight, gradient)
                          : image_row(context.batch, values, n, y, per_weight, row_gradients);
    });
    *context.loss = total > 0 ? sum_of(sums) / total : 0;
    if (!on_grid()) gather_rows(row_gradients, gradient);
  }

  template <typename T>
  double grid_row(const TrainingBatch& batch, const T* values, int64_t n, int64_t y, double per_weight,
                  T* gradient) const {
    float pixel[kMaxClasses];
    double sum = 0;
    for (int64_t x = 0; x < logits.w; ++x) {
      const int64_t at = ((n * logits.h + y) * logits.w + x) * classes();
      const int its_label = label(batch, n, y, x);
      const float its_weight = weight(its_label);
      if (its_weight == 0) {
        std::fill_n(gradient + at, classes(), T(0));
        continue;
      }
      for (int64_t c = 0; c < classes(); ++c) pixel[c] = read_element(values[at + c]);
      sum += its_weight * differentiate(pixel, its_label, static_cast<float>(per_weight * its_weight));
      for (int64_t c = 0; c < classes(); ++c) write_element(gradient + at + c, pixel[c]);
    }
    return sum;
  }

  template <typename T>
  double image_row(const TrainingBatch& batch, const T* values, int64_t n, int64_t y, double per_weight,
                   float* row_gradients) const {
    const int64_t stride = logits.w * classes();
    float* const out = row_gradients + (n * images.h + y) * stride;
    std::fill_n(out, stride, 0.0f);
    const BilinearTap& row = row_taps[y];
    const T* const low = values + (n * logits.h + row.low) * stride;
    const T* const high = values + (n * logits.h + row.high) * stride;
    float pixel[kMaxClasses];
    double sum = 0;
    for (int64_t x = 0; x < images.w; ++x) {
      const int its_label = label(batch, n, y, x);
      const float its_weight = weight(its_label);
      if (its_weight == 0) continue;
      const BilinearTap& column = column_taps[x];
      const int64_t left = column.low * classes(), right = column.high * classes();
      for (int64_t c = 0; c < classes(); ++c) {
        const auto blend = [&](const T* at) {
          const float a = read_element(at[left + c]);
          return a + (read_element(at[right + c]) - a) * column.fraction;
        };
        const float top = blend(low);
        pixel[c] = top + (blend(high) - top) * row.fraction;
      }
      sum += its_weight * differentiate(pixel, its_label, static_cast<float>(per_weight * its_weight));
      for (int64_t c = 0; c < classes(); ++c) {
        out[left + c] += pixel[c] * (1 - column.fraction);
        out[right + c] += pixel[c] * column.fraction;
      }
    }
    return sum;
  }

  // Each row of logits gathers from the rows of the image that it has a part in.
  template <typename T>
  void gather_rows(const float* row_gradients, T* gradient) const {
    const int64_t stride = logits.w * classes();
    parallel_for(images.n * logits.h, [&](int64_t i) {
      const int64_t n = i / logits.h, row = i % logits.h;
      T* const out = gradient + i * stride;
      for (int64_t k = 0; k < stride; ++k) {
        float sum = 0;
        for (int64_t y = first_row(row); y < images.h && row_taps[y].low <= row; ++y) {
          const float value = row_gradients[(n * images.h + y) * stride + k];
          if (row_taps[y].low == row) sum += value * (1 - row_taps[y].fraction);
          if (row_taps[y].high == row) sum += value * row_taps[y].fraction;
        }
        write_element(out + k, sum);
      }
    });
  }
  // The first row of the image that `row` of the logits has a part in; taps only ever grow.
  int64_t first_row(int64_t row) const {
    const auto before = [](const BilinearTap& tap, int64_t row) { return tap.high < row; };
    return std::lower_bound(row_taps.begin(), row_taps.end(), row, before) - row_taps.begin();
  }
};

std::vector<int64_t> cell_pixels(Upsample upsample, int64_t grid, int64_t image) {
  std::vector<int64_t> pixels(grid);
  for (int64_t i = 0; i < grid; ++i) pixels[i] = cell_pixel(upsample, i, grid, image);
  return pixels;
}

}  // namespace

TrainingStep compile_cross_entropy(const TrainingCompiler& compiler, const TrainingNode& node, const CrossEntropy& op) {
  const TrainingNetwork& network = compiler.network;
  const Shape& logits = compiler.input(node, 0);
  const Shape& images = network.images;
  Loss loss{logits, images, network.options.ignore_label, network.options.class_weights, {}, {}, {}, {}};
  const Upsample upsample = op.config.upsample;
  if (network.options.loss == LossGrid::kLogits) {
    loss.rows = cell_pixels(upsample, logits.h, images.h);
    loss.columns = cell_pixels(upsample, logits.w, images.w);
  } else {
    const InputGeometry geometry = input_geometry(op.config, images.h, images.w);
    loss.row_taps = upsample_taps(upsample, images.h, geometry.height, geometry.padded_height, logits.h);
    loss.column_taps = upsample_taps(upsample, images.w, geometry.width, geometry.padded_width, logits.w);
  }
  TrainingStep step;
  step.implementation = "loop";
  step.backward_scratch_bytes = loss.scratch_bytes();
  step.backward = [loss, bf16 = compiler.bf16()](const TrainingContext& context, const TrainingStepMemory& at) {
    bf16 ? loss.run<uint16_t>(context, at) : loss.run<float>(context, at);
  };
  return step;
}

}  // namespace deeplab

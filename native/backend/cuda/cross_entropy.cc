// The loss of a training step, and the gradient of the logits.
#include "backend/cuda/loss_kernels.h"
#include "backend/cuda/table.h"
#include "backend/cuda/training_step.h"
#include "core/memory.h"

namespace deeplab::cuda {
namespace {

using Table = std::shared_ptr<const DeviceBuffer>;

struct Loss {
  Shape grid, images;
  int ignored;
  Table weights;

  LossLabels labels(const TrainingContext& context) const {
    return {context.labels, images.h, images.w, ignored, weights->as<float>(), grid.c};
  }
};

std::vector<int64_t> cell_pixels(Upsample upsample, int64_t grid, int64_t image) {
  std::vector<int64_t> pixels(grid);
  for (int64_t i = 0; i < grid; ++i) pixels[i] = cell_pixel(upsample, i, grid, image);
  return pixels;
}

// Taps only ever grow.
std::vector<TapRange> ranges_of(const std::vector<BilinearTap>& taps, int64_t grid) {
  std::vector<TapRange> ranges(grid, {0, 0});
  for (size_t i = 0; i < taps.size(); ++i) {
    for (const int64_t cell : {taps[i].low, taps[i].high}) {
      TapRange& range = ranges[cell];
      if (range.end == 0) range.first = static_cast<int64_t>(i);
      range.end = static_cast<int64_t>(i) + 1;
    }
  }
  return ranges;
}

Result<TrainingRun> on_grid(const TrainingCompiler& compiler, const Loss& loss, Upsample upsample) {
  auto rows = upload_table(compiler.layers.stream, cell_pixels(upsample, loss.grid.h, loss.images.h));
  if (!rows.ok()) return rows.status();
  auto columns = upload_table(compiler.layers.stream, cell_pixels(upsample, loss.grid.w, loss.images.w));
  if (!columns.ok()) return columns.status();
  return with_element(compiler.precision(), [&](auto element) -> TrainingRun {
    using T = decltype(element);
    return [loss, rows = *rows, columns = *columns](const TrainingContext& context, const TrainingStepMemory& memory) {
      const GridLoss<T> value{loss.labels(context),
                              context.at<const float>(memory.inputs[0]),
                              loss.grid.h,
                              loss.grid.w,
                              rows->template as<int64_t>(),
                              columns->template as<int64_t>(),
                              context.step,
                              padded_channels(loss.grid.c),
                              context.at<T>(memory.input_gradients[0])};
      return sum_all(context.stream, pixels_of(loss.grid), value, context.at<double>(memory.backward_scratch),
                     context.loss);
    };
  });
}

// Scratch: what is divided by in each pixel's softmax, then sums of the loss.
size_t log_sum_bytes(const Shape& images) { return round_up(pixels_of(images) * sizeof(float), kPlanAlignment); }

Result<TrainingRun> on_image(const TrainingCompiler& compiler, const Loss& loss, const ModelConfig& config) {
  const InputGeometry geometry = input_geometry(config, loss.images.h, loss.images.w);
  const auto row_taps =
      upsample_taps(config.upsample, loss.images.h, geometry.height, geometry.padded_height, loss.grid.h);
  const auto column_taps =
      upsample_taps(config.upsample, loss.images.w, geometry.width, geometry.padded_width, loss.grid.w);
  auto taps = upload_taps(compiler.layers.stream, row_taps, column_taps);
  if (!taps.ok()) return taps.status();
  auto rows = upload_table(compiler.layers.stream, ranges_of(row_taps, loss.grid.h));
  if (!rows.ok()) return rows.status();
  auto columns = upload_table(compiler.layers.stream, ranges_of(column_taps, loss.grid.w));
  if (!columns.ok()) return columns.status();
  return with_element(compiler.precision(), [&](auto element) -> TrainingRun {
    using T = decltype(element);
    return [loss, taps = *taps, rows = *rows, columns = *columns](const TrainingContext& context,
                                                                  const TrainingStepMemory& memory) -> Status {
      auto* const log_sums = context.at<float>(memory.backward_scratch);
      auto* const sums = context.at<double>(memory.backward_scratch + log_sum_bytes(loss.images));
      const UpsampledLogits logits{context.at<const float>(memory.inputs[0]),
                                   loss.grid.h,
                                   loss.grid.w,
                                   loss.grid.c,
                                   loss.images.h,
                                   loss.images.w,
                                   taps.rows(),
                                   taps.columns()};
      DEEPLAB_RETURN_IF_ERROR(sum_all(context.stream, pixels_of(loss.images),
                                      ImageLoss{loss.labels(context), logits, log_sums}, sums, context.loss));
      const ImageLossGradientKernel<T> kernel{loss.labels(context),
                                              logits,
                                              log_sums,
                                              rows->template as<TapRange>(),
                                              columns->template as<TapRange>(),
                                              context.step,
                                              padded_channels(loss.grid.c),
                                              context.at<T>(memory.input_gradients[0])};
      return launch(context.stream, pixels_of(loss.grid) * kernel.stride, kernel);
    };
  });
}

}  // namespace

Result<TrainingStep> compile_cross_entropy(const TrainingCompiler& compiler, const TrainingNode& node,
                                           const CrossEntropy& op) {
  const TrainingOptions& options = compiler.network.options;
  auto weights = upload_table(compiler.layers.stream, options.class_weights);
  if (!weights.ok()) return weights.status();
  const Loss loss{compiler.input(node), compiler.network.images, options.ignore_label, *weights};
  const bool grid = options.loss == LossGrid::kLogits;
  auto run = grid ? on_grid(compiler, loss, op.config.upsample) : on_image(compiler, loss, op.config);
  if (!run.ok()) return run.status();
  TrainingStep step;
  step.implementations.push_back({node.name, "kernel"});
  step.backward_scratch_bytes = grid ? sum_scratch_bytes(pixels_of(loss.grid))
                                     : log_sum_bytes(loss.images) + sum_scratch_bytes(pixels_of(loss.images));
  step.backward = std::move(*run);
  return step;
}

}  // namespace deeplab::cuda

#include "backend/cuda/segmentation_head.h"

#include "backend/cuda/dense_crf.h"
#include "backend/cuda/head_kernels.h"
#include "backend/cuda/table.h"

namespace deeplab::cuda {
namespace {

UpsampledLogits upsampled(const float* logits, const Shape& grid, const Shape& image, const DeviceBuffer& rows,
                          const DeviceBuffer& columns) {
  return {logits, grid.h, grid.w, grid.c, image.h, image.w, rows.as<BilinearTap>(), columns.as<BilinearTap>()};
}

}  // namespace

Result<std::shared_ptr<const SegmentationHead>> SegmentationHead::create(Stream stream, const Shape& logits,
                                                                         const Shape& image,
                                                                         const InputGeometry& geometry) {
  std::shared_ptr<SegmentationHead> head(new SegmentationHead(logits, image));
  auto rows = upload_table(
      stream, bilinear_taps(image.h, logits.h, grid_scale(image.h, geometry.height, geometry.padded_height, logits.h)));
  if (!rows.ok()) return rows.status();
  auto columns = upload_table(
      stream, bilinear_taps(image.w, logits.w, grid_scale(image.w, geometry.width, geometry.padded_width, logits.w)));
  if (!columns.ok()) return columns.status();
  head->rows_ = *rows;
  head->columns_ = *columns;
  return std::shared_ptr<const SegmentationHead>(std::move(head));
}

Status SegmentationHead::write_labels(Stream stream, const float* logits, uint8_t* labels) const {
  const LabelsKernel kernel{upsampled(logits, logits_, image_, *rows_, *columns_), labels};
  return launch(stream, image_.n * image_.h * image_.w, kernel);
}

Status SegmentationHead::write_scores(Stream stream, const float* logits, float* scores) const {
  const ScoresKernel kernel{upsampled(logits, logits_, image_, *rows_, *columns_), scores};
  return launch(stream, image_.n * image_.h * image_.w, kernel);
}

Status SegmentationHead::write_logits(Stream stream, const float* logits, float* output) const {
  return launch(stream, logits_.elements(), LogitsKernel{logits, logits_.h * logits_.w, logits_.c, output});
}

Status SegmentationHead::write_unary(Stream stream, const float* logits, int64_t n, float* unary) const {
  const float* of_image = logits + n * logits_.h * logits_.w * logits_.c;
  const UnaryKernel kernel{upsampled(of_image, logits_, image_, *rows_, *columns_), row_stride(logits_.c), unary};
  return launch(stream, image_.h * image_.w, kernel);
}

}  // namespace deeplab::cuda

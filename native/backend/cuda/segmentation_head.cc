#include "backend/cuda/segmentation_head.h"

#include "backend/cuda/dense_crf.h"
#include "backend/cuda/head_kernels.h"

namespace deeplab::cuda {
namespace {

UpsampledLogits upsampled(const float* logits, const Shape& grid, const Shape& image, const DeviceTaps& taps) {
  return {logits, grid.h, grid.w, grid.c, image.h, image.w, taps.rows(), taps.columns()};
}

}  // namespace

Result<std::shared_ptr<const SegmentationHead>> SegmentationHead::create(Stream stream,
                                                                         const deeplab::SegmentationHead& op,
                                                                         const Shape& logits, const Shape& image) {
  const InputGeometry geometry = input_geometry(op.config, image.h, image.w);
  const Upsample upsample = op.config.upsample;
  auto taps = upload_taps(stream, upsample_taps(upsample, image.h, geometry.height, geometry.padded_height, logits.h),
                          upsample_taps(upsample, image.w, geometry.width, geometry.padded_width, logits.w));
  if (!taps.ok()) return taps.status();
  return std::shared_ptr<const SegmentationHead>(new SegmentationHead(logits, image, std::move(*taps)));
}

Status SegmentationHead::write_labels(Stream stream, const float* logits, uint8_t* labels) const {
  const LabelsKernel kernel{upsampled(logits, logits_, image_, taps_), labels};
  return launch(stream, image_.n * image_.h * image_.w, kernel);
}

Status SegmentationHead::write_scores(Stream stream, const float* logits, float* scores) const {
  const ScoresKernel kernel{upsampled(logits, logits_, image_, taps_), scores};
  return launch(stream, image_.n * image_.h * image_.w, kernel);
}

Status SegmentationHead::write_logits(Stream stream, const float* logits, float* output) const {
  return launch(stream, logits_.elements(), LogitsKernel{logits, logits_.h * logits_.w, logits_.c, output});
}

Status SegmentationHead::write_unary(Stream stream, const float* logits, int64_t n, float* unary) const {
  const float* of_image = logits + n * logits_.h * logits_.w * logits_.c;
  const UnaryKernel kernel{upsampled(of_image, logits_, image_, taps_), row_stride(logits_.c), unary};
  return launch(stream, image_.h * image_.w, kernel);
}

}  // namespace deeplab::cuda

#include "session/batch.h"

#include <algorithm>

namespace deeplab {

Result<std::shared_ptr<const Batch>> Batch::create(const std::vector<const SegmentRequest*>& requests,
                                                   const Shape& size, const Shape& logits, const Extras& extras,
                                                   const ModelConfig& config) {
  const auto count = static_cast<int64_t>(requests.size());
  const int64_t area = count * size.h * size.w;
  const size_t scores = extras.scores ? area * logits.c : 0;
  const size_t logit_count = extras.logits ? count * logits.elements() : 0;
  const size_t bytes = area * (size.c + 1) + (scores + logit_count) * sizeof(float);
  DEEPLAB_RETURN_IF_ERROR(check_memory(bytes, "a batch of images"));

  std::shared_ptr<Batch> batch(new Batch());
  batch->images_ = {count, size.c, size.h, size.w};
  batch->logits_shape_ = logits;
  DEEPLAB_RETURN_IF_ERROR(batch->pixels_.allocate(area * size.c));
  DEEPLAB_RETURN_IF_ERROR(batch->labels_.allocate(area));
  DEEPLAB_RETURN_IF_ERROR(batch->scores_.allocate(scores));
  DEEPLAB_RETURN_IF_ERROR(batch->logits_.allocate(logit_count));
  for (int64_t i = 0; i < count; ++i) {
    const SegmentRequest& request = *requests[i];
    pad_image(request.pixels.data(), request.image, size, config, batch->pixels_.data() + i * size.elements());
  }
  return std::shared_ptr<const Batch>(std::move(batch));
}

RunInput Batch::input() const {
  RunInput input;
  input.pixels = pixels_.data();
  return input;
}

RunOutput Batch::output() const {
  return {labels_.data(), scores_.size() > 0 ? scores_.data() : nullptr, logits_.size() > 0 ? logits_.data() : nullptr};
}

void Batch::deliver(size_t index, const Shape& image, const RunOutput& output) const {
  const int64_t area = images_.h * images_.w;
  if (output.labels != nullptr) crop_planes(labels_.data() + index * area, images_, 1, image, output.labels);
  if (output.scores != nullptr) {
    crop_planes(scores_.data() + index * area * logits_shape_.c, images_, logits_shape_.c, image, output.scores);
  }
  if (output.logits != nullptr) {
    const int64_t elements = logits_shape_.elements();
    std::copy_n(logits_.data() + index * elements, elements, output.logits);
  }
}

}  // namespace deeplab

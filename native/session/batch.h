// Images of several requests, or one that is padded, in memory of their own for one run.
#pragma once

#include <memory>
#include <vector>

#include "core/array.h"
#include "session/bucket.h"
#include "session/request.h"

namespace deeplab {

class Batch {
 public:
  // What is computed besides labels.
  struct Extras {
    bool scores = false;
    bool logits = false;
  };
  // Of `requests`, all padded to `size` [1,channels,H',W']; `logits` [1,classes,h,w] is the network's own output for
  // that size. ERR_OUT_OF_MEMORY if there is not that much memory.
  static Result<std::shared_ptr<const Batch>> create(const std::vector<const SegmentRequest*>& requests,
                                                     const Shape& size, const Shape& logits, const Extras& extras,
                                                     const ModelConfig& config);

  // The images' shape, [N,channels,H',W'].
  const Shape& images() const { return images_; }
  RunInput input() const;
  RunOutput output() const;

  // After a run: the image `index` without its padding, [1,channels,H,W], as far as `output` wants it.
  void deliver(size_t index, const Shape& image, const RunOutput& output) const;

 private:
  Batch() = default;

  Shape images_;
  Shape logits_shape_;
  Array<uint8_t> pixels_;
  Array<uint8_t> labels_;
  Array<float> scores_;  // empty where not wanted
  Array<float> logits_;
};

}  // namespace deeplab

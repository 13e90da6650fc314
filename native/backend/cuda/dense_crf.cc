#include "backend/cuda/dense_crf.h"

#include "backend/cuda/mean_field.h"

namespace deeplab::cuda {
namespace {

class LatticeCrf : public DenseCrf {
 public:
  LatticeCrf(Lattices lattices, MeanField field) : lattices_(std::move(lattices)), field_(std::move(field)) {}

  size_t bytes() const override { return lattices_.bytes() + field_.bytes(); }

  Status build(Stream stream, const uint8_t* pixels) override { return lattices_.build(stream, pixels); }

  Status infer(Stream stream, const float* unary, const CrfInference& inference, uint8_t* labels,
               float* marginals) override {
    const std::atomic<bool> cancelled{false};
    const auto result = field_.infer(stream, lattices_, unary, inference, nullptr, cancelled);
    return result.ok() ? field_.write(stream, *result, labels, marginals) : result.status();
  }

  Result<bool> settle(Stream stream) override {
    const auto had_room = lattices_.settle(stream);
    if (!had_room.ok() || *had_room) return had_room;
    DEEPLAB_RETURN_IF_ERROR(field_.make_room(stream, lattices_));
    return false;
  }

 private:
  Lattices lattices_;
  MeanField field_;
};

}  // namespace

Result<std::unique_ptr<DenseCrf>> DenseCrf::create(Stream stream, const Shape& image, const CrfModel& model,
                                                   int classes, bool with_tolerance, int64_t vertices) {
  auto lattices = Lattices::create(stream, image, model, vertices);
  if (!lattices.ok()) return lattices.status();
  auto field = MeanField::create(stream, image.h * image.w, model, *lattices, classes, with_tolerance);
  if (!field.ok()) return field.status();
  return std::unique_ptr<DenseCrf>(std::make_unique<LatticeCrf>(std::move(*lattices), std::move(*field)));
}

}  // namespace deeplab::cuda

#include "backend/cuda/crf.h"

#include <algorithm>
#include <utility>

#include "backend/cuda/crf_unary.h"
#include "backend/cuda/dense_crf.h"
#include "backend/cuda/mean_field.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "the CRF's results";

class ImageCrf : public Crf {
 public:
  ImageCrf(int device, std::unique_ptr<OwnedStream> stream, int64_t width, int64_t points, CrfModel model,
           Lattices lattices)
      : device_(device),
        owned_stream_(std::move(stream)),
        stream_(owned_stream_->get()),
        width_(width),
        points_(points),
        model_(std::move(model)),
        lattices_(std::move(lattices)) {}

  size_t lattice_bytes() const override { return lattices_.bytes(); }
  std::vector<int64_t> vertices() const override { return lattices_.vertices(); }

  Status infer(CrfUnary unary, const CrfInference& inference, const CrfOutput& output,
               const std::atomic<bool>& cancelled) override {
    DEEPLAB_RETURN_IF_ERROR(select_device(device_));
    const int classes = unary.classes;
    const bool measures = inference.tolerance > 0 || output.kl_divergence != nullptr;
    DeviceBuffer rows;
    DEEPLAB_RETURN_IF_ERROR(rows.allocate(points_ * row_stride(classes) * sizeof(float), "the CRF's unary potentials"));
    DEEPLAB_RETURN_IF_ERROR(write_unary(stream_, unary, width_, points_, rows.as<float>()));
    auto field = MeanField::create(stream_, points_, model_, lattices_, classes, measures);
    if (!field.ok()) return field.status();
    if (cancelled) return error(Code::kAborted, "the inference was aborted");
    const auto result = field->infer(stream_, lattices_, rows.as<float>(), inference, output.kl_divergence, cancelled);
    if (!result.ok()) return result.status();
    return write(*field, *result, classes, output);
  }

 private:
  Status write(const MeanField& field, int from, int classes, const CrfOutput& output) const {
    const size_t bytes = points_ * classes * sizeof(float);
    DeviceBuffer labels, marginals;
    DEEPLAB_RETURN_IF_ERROR(labels.allocate(points_, kPurpose));
    if (output.marginals != nullptr) DEEPLAB_RETURN_IF_ERROR(marginals.allocate(bytes, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(field.write(stream_, from, labels.as<uint8_t>(), marginals.as<float>()));
    DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream_, output.labels, labels.data(), points_));
    if (output.marginals != nullptr) {
      DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream_, output.marginals, marginals.data(), bytes));
    }
    return synchronize(stream_);
  }

  const int device_;
  const std::unique_ptr<OwnedStream> owned_stream_;
  const Stream stream_;
  const int64_t width_;
  const int64_t points_;
  CrfModel model_;  // without features
  Lattices lattices_;
};

}  // namespace

Result<std::unique_ptr<Crf>> build_crf(int device, const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                       int64_t capacity) {
  DEEPLAB_RETURN_IF_ERROR(select_device(device));
  auto owned = std::make_unique<OwnedStream>();
  DEEPLAB_RETURN_IF_ERROR(owned->create());
  const Stream stream = owned->get();
  auto lattices = Lattices::create(stream, image, model, capacity);
  if (!lattices.ok()) return lattices.status();
  DeviceBuffer on_device;
  if (pixels != nullptr) {
    const size_t bytes = image.c * image.h * image.w;
    DEEPLAB_RETURN_IF_ERROR(on_device.allocate(bytes, "a CRF's image"));
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, on_device.data(), pixels, bytes));
  }
  for (bool settled = false; !settled;) {
    DEEPLAB_RETURN_IF_ERROR(lattices->build(stream, on_device.as<uint8_t>()));
    const auto had_room = lattices->settle(stream);
    if (!had_room.ok()) return had_room.status();
    settled = *had_room;
  }
  lattices->free_scratch();
  CrfModel kept{{}, model.coordinates};
  for (const CrfTerm& term : model.terms) {
    kept.terms.push_back({term.kernel, term.deviations, {}, term.dimensions, term.compatibility, term.normalization});
  }
  return std::unique_ptr<Crf>(std::make_unique<ImageCrf>(device, std::move(owned), image.w, image.h * image.w,
                                                         std::move(kept), std::move(*lattices)));
}

size_t crf_inference_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes, bool marginals) {
  // Rows of unary and marginals for each point; for each vertex a row, and another one of those of the largest lattice.
  int64_t rows = 2 * points, largest = 0;
  for (const int64_t count : vertices) {
    rows += count;
    largest = std::max(largest, count);
  }
  const size_t results = points * (1 + (marginals ? classes * sizeof(float) : 0));
  return (rows + largest) * row_stride(classes) * sizeof(float) + results;
}

}  // namespace deeplab::cuda

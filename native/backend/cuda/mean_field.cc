#include "backend/cuda/mean_field.h"

#include <algorithm>

#include "backend/cuda/dense_crf.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "the CRF's inference";

Status upload(Stream stream, DeviceBuffer* buffer, const void* from, size_t bytes) {
  DEEPLAB_RETURN_IF_ERROR(buffer->reserve(bytes, kPurpose));
  return copy_to_device(stream, buffer->data(), from, bytes);
}

}  // namespace

Result<MeanField> MeanField::create(Stream stream, int64_t points, const CrfModel& model, const Lattices& lattices,
                                    int classes, bool measures) {
  MeanField field;
  field.points_ = static_cast<uint32_t>(points);
  field.classes_ = static_cast<uint32_t>(classes);
  field.lanes_ = static_cast<uint32_t>(row_stride(classes) / 4);
  bool matrices = false;
  for (size_t i = 0; i < model.terms.size(); ++i) {
    const std::vector<float>& numbers = model.terms[i].compatibility;
    if (lattices.all()[i].splats() * field.lanes_ > UINT32_MAX) {
      return error(Code::kOutOfMemory, "a CRF of ", points, " pixels and ", classes,
                   " classes is too large for one GPU kernel");
    }
    const auto kind = compatibility_kind(numbers, i, classes);
    if (!kind.ok()) return kind.status();
    field.terms_.push_back({*kind, 0, {}, {}});
    Term& term = field.terms_.back();
    const float gain = lattices.all()[i].gain();
    if (term.kind == CompatibilityKind::kPotts) {
      term.factor = numbers[0] * gain;
      continue;
    }
    const bool matrix = term.kind == CompatibilityKind::kMatrix;
    matrices = matrices || matrix;
    const std::vector<float> table = compatibility_table(numbers, classes, row_stride(classes), gain);
    DEEPLAB_RETURN_IF_ERROR(upload(stream, &term.table, table.data(), table.size() * sizeof(float)));
  }
  const size_t bytes = points * row_stride(classes) * sizeof(float);
  for (int i = 0; i < (measures ? 2 : 1); ++i) DEEPLAB_RETURN_IF_ERROR(field.marginals_[i].allocate(bytes, kPurpose));
  if (matrices) DEEPLAB_RETURN_IF_ERROR(field.energies_.allocate(bytes, kPurpose));
  if (measures) {
    const size_t blocks = field.point_lanes().blocks();
    DEEPLAB_RETURN_IF_ERROR(field.block_energies_.allocate(blocks * sizeof(FreeEnergy), kPurpose));
    DEEPLAB_RETURN_IF_ERROR(field.measured_.allocate(sizeof(FreeEnergy), kPurpose));
  }
  DEEPLAB_RETURN_IF_ERROR(field.make_room(stream, lattices));
  return Result<MeanField>(std::move(field));
}

size_t MeanField::bytes() const {
  size_t sum = sliced_.size() + blurred_.size() + extras_.size() + energies_.size() + marginals_[0].size() +
               marginals_[1].size() + block_energies_.size() + measured_.size();
  for (const Term& term : terms_) sum += term.table.size() + term.values.size();
  return sum;
}

Status MeanField::make_room(Stream stream, const Lattices& lattices) {
  const size_t row = lanes_ * sizeof(Floats4);
  std::vector<SlicedTerm> sliced;
  for (size_t i = 0; i < terms_.size(); ++i) {
    const Lattice& lattice = lattices.all()[i];
    const LatticeView view = lattice.view();
    Term& term = terms_[i];
    DEEPLAB_RETURN_IF_ERROR(term.values.reserve(lattice.capacity() * row, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(blurred_.reserve(lattice.capacity() * row, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(extras_.reserve(extra_rows(lattice.splats()) * row, kPurpose));
    if (term.kind == CompatibilityKind::kMatrix) continue;
    sliced.push_back({view.corners, view.weights, term.values.as<Floats4>(), term.table.as<Floats4>(), term.factor,
                      view.corner_count});
  }
  sliced_count_ = static_cast<int>(sliced.size());
  return upload(stream, &sliced_, sliced.data(), sliced.size() * sizeof(SlicedTerm));
}

Result<int> MeanField::infer(Stream stream, const Lattices& lattices, const float* unary, const CrfInference& inference,
                             double* kl_divergence, const std::atomic<bool>& cancelled) const {
  DEEPLAB_RETURN_IF_ERROR(update(stream, unary, 0, unary, -1, 0));  // of the unary alone
  int result = 0;
  if (measures()) {
    DEEPLAB_RETURN_IF_ERROR(infer_measured(stream, lattices, unary, inference, kl_divergence, cancelled, &result));
  } else {
    for (int i = 0; i < inference.iterations; ++i) DEEPLAB_RETURN_IF_ERROR(iterate(stream, lattices, unary, 0, 0));
  }
  return result;
}

// A divergence needs its marginals filtered: known when the next ones are made, which may then not be wanted.
Status MeanField::infer_measured(Stream stream, const Lattices& lattices, const float* unary,
                                 const CrfInference& inference, double* kl_divergence,
                                 const std::atomic<bool>& cancelled, int* result) const {
  const double tolerance = inference.tolerance * static_cast<double>(points_);
  double divergence = 0;
  FreeEnergy made{};
  DEEPLAB_RETURN_IF_ERROR(look(stream, &made));
  for (int iteration = 0;; ++iteration) {
    if (cancelled) return error(Code::kAborted, "the inference was aborted");
    *result = iteration % 2;
    const bool last = iteration == inference.iterations;
    DEEPLAB_RETURN_IF_ERROR(iterate(stream, lattices, unary, *result, last ? -1 : 1 - *result));
    const double entropy = made.unary_and_entropy, before = divergence;
    DEEPLAB_RETURN_IF_ERROR(look(stream, &made));
    divergence = entropy + made.pairwise;
    if (kl_divergence != nullptr) kl_divergence[iteration] = divergence;
    if (last || (tolerance > 0 && iteration > 0 && before - divergence < tolerance)) return Status();
  }
}

Status MeanField::look(Stream stream, FreeEnergy* energy) const {
  DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream, energy, measured_.data(), sizeof *energy));
  return synchronize(stream);
}

Status MeanField::iterate(Stream stream, const Lattices& lattices, const float* unary, int from, int to) const {
  const float* energies = unary;
  for (size_t i = 0; i < terms_.size(); ++i) {
    const Term& term = terms_[i];
    const LatticeView view = lattices.all()[i].view();
    auto* values = term.values.as<Floats4>();
    DEEPLAB_RETURN_IF_ERROR(lattice_filter(stream, view, lanes_, marginals_[from].as<const Floats4>(), values,
                                           blurred_.as<Floats4>(), extras_.as<Floats4>()));
    if (term.kind != CompatibilityKind::kMatrix) continue;
    const AddMatrixMessage add{point_lanes(),
                               view,
                               values,
                               term.table.as<Floats4>(),
                               classes_,
                               reinterpret_cast<const Floats4*>(energies),
                               energies_.as<Floats4>()};
    DEEPLAB_RETURN_IF_ERROR(launch_blocks(stream, point_lanes().blocks(), add));
    energies = energies_.as<float>();
  }
  return update(stream, energies, sliced_count_, unary, from, to);
}

Status MeanField::update(Stream stream, const float* energies, int term_count, const float* unary, int from,
                         int to) const {
  const PointLanes at = point_lanes();
  const auto launch_update = [&](auto measures) {
    return launch_blocks(
        stream, at.blocks(),
        UpdateMarginals<measures>{
            at, classes_, reinterpret_cast<const Floats4*>(energies), sliced_.as<SlicedTerm>(), term_count,
            to < 0 ? nullptr : marginals_[to].as<Floats4>(), reinterpret_cast<const Floats4*>(unary),
            from < 0 ? nullptr : marginals_[from].as<Floats4>(), block_energies_.as<FreeEnergy>()});
  };
  if (!measures()) return launch_update(std::false_type());
  DEEPLAB_RETURN_IF_ERROR(launch_update(std::true_type()));
  return launch_blocks(stream, 1,
                       SumFreeEnergies{block_energies_.as<FreeEnergy>(), at.blocks(), measured_.as<FreeEnergy>()});
}

Status MeanField::write(Stream stream, int from, uint8_t* labels, float* marginals) const {
  return launch_blocks(stream, point_lanes().blocks(),
                       WriteResults{point_lanes(), classes_, marginals_[from].as<Floats4>(), labels, marginals});
}

}  // namespace deeplab::cuda

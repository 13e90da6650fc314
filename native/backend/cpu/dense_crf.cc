#include "backend/cpu/dense_crf.h"

#include <omp.h>

#include <algorithm>
#include <numeric>

#include "backend/cpu/crf_unary.h"
#include "backend/cpu/lattice_cache.h"
#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/team.h"
#include "core/threads.h"

namespace deeplab {
namespace {

// Points whose energies are summed before the sum joins the others, so that it does not depend on the threads.
constexpr int64_t kBlock = 4096;

// What an inference works on, and where it stands.
struct MeanField {
  MeanField(int threads, const std::atomic<bool>& cancelled) : team(threads), cancelled(cancelled) {}

  Team team;
  const std::atomic<bool>& cancelled;
  MeanFieldStep step;
  int64_t points = 0;
  std::vector<FilteredTerm> terms;
  std::vector<Array<float>> values;  // of each term
  bool measures = false;             // whether divergences are wanted
  // The marginals, and where divergences are wanted, those of the next iteration; the energies of their blocks.
  Array<float> marginals[2];
  std::vector<FreeEnergy> energies[2];
  int result = 0;  // which marginals are the result
  bool done = false;
  bool aborted = false;
};

// Work of the team that is given up once that is wanted: parts are then left undone, and what they would have written
// is not to be read.
template <typename Body>
void share(MeanField& field, int64_t parts, const Body& body) {
  field.team.share(parts, [&](int64_t part) {
    if (!field.cancelled.load(std::memory_order_relaxed)) body(part);
  });
}

// Marginals `to` from the filtered marginals `from`; the first ones are from none.
void update(MeanField& field, const float* from, float* to, std::vector<FreeEnergy>& energies) {
  MeanFieldStep step = field.step;
  step.terms = field.terms.data();
  step.term_count = from == nullptr ? 0 : field.terms.size();
  step.marginals = from;
  step.updated = to;
  share(field, (field.points + kBlock - 1) / kBlock, [&](int64_t block) {
    FreeEnergy* energy = field.measures ? &energies[block] : nullptr;
    if (energy != nullptr) *energy = FreeEnergy();
    mean_field_update(step, block * kBlock, std::min((block + 1) * kBlock, field.points), energy);
  });
}

void filter(MeanField& field, const float* marginals) {
  // A part is a few milliseconds at most, for `cancelled` to be heeded in time.
  constexpr int64_t kPointsOfPart = 1 << 15;
  const int64_t parts = std::max(field.team.parts(), field.points / kPointsOfPart),
                terms = static_cast<int64_t>(field.terms.size()), stride = field.step.stride;
  int axes = 0;
  for (const FilteredTerm& term : field.terms) axes = std::max(axes, term.lattice->dimensions + 1);
  share(field, terms * parts, [&](int64_t i) {
    splat_part(*field.terms[i / parts].lattice, i % parts, parts, marginals, stride, field.values[i / parts].data());
  });
  for (int axis = 0; axis < axes; ++axis) {
    share(field, terms * parts, [&](int64_t i) {
      const Lattice& lattice = *field.terms[i / parts].lattice;
      if (axis <= lattice.dimensions)
        blur_part(lattice, axis, i % parts, parts, field.values[i / parts].data(), stride);
    });
  }
}

void write(MeanField& field, const CrfOutput& output) {
  const int64_t classes = field.step.classes, stride = field.step.stride;
  const float* marginals = field.marginals[field.result].data();
  constexpr int64_t kRun = 16;  // points whose classes are written one after the other: a cache line of each
  const auto write_run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = marginals + i * stride;
      output.labels[i] = static_cast<uint8_t>(std::max_element(row, row + classes) - row);
    }
    if (output.marginals == nullptr) return;
    for (int64_t c = 0; c < classes; ++c) {
      for (int64_t i = begin; i < end; ++i) output.marginals[c * field.points + i] = marginals[i * stride + c];
    }
  };
  share(field, (field.points + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t end = std::min((block + 1) * kBlock, field.points);
    for (int64_t i = block * kBlock; i < end; i += kRun) write_run(i, std::min(i + kRun, end));
  });
}

// Up to log Z, of the marginals that were filtered. Their entropy was measured when they were made.
double kl_divergence(const std::vector<FreeEnergy>& made, const std::vector<FreeEnergy>& filtered) {
  double sum = 0;
  for (size_t i = 0; i < made.size(); ++i) sum += made[i].unary_and_entropy + filtered[i].pairwise;
  return sum;
}

// Every member walks through the same iterations. What member 0 decides, the others read after the next barrier.
void infer(MeanField& field, int member, const CrfInference& inference, const CrfOutput& output) {
  const double tolerance = inference.tolerance * static_cast<double>(field.points);
  double divergence = 0;
  update(field, nullptr, field.marginals[0].data(), field.energies[0]);
  for (int iteration = 0;; ++iteration) {
    // A divergence needs its marginals filtered: known when the next ones are made, which may then not be wanted.
    const int current = field.measures ? iteration % 2 : 0;
    const int next = field.measures ? 1 - current : 0;
    const bool last = iteration == inference.iterations;
    if (member == 0 && !field.done) {
      field.result = current;
      field.aborted = field.cancelled.load(std::memory_order_relaxed);
      field.done = field.aborted || (last && !field.measures);
    }
    field.team.barrier();
    if (field.done) break;
    filter(field, field.marginals[current].data());
    update(field, field.marginals[current].data(), last ? nullptr : field.marginals[next].data(), field.energies[next]);
    if (member != 0 || !field.measures) continue;
    const double before = divergence;
    divergence = kl_divergence(field.energies[current], field.energies[next]);
    if (output.kl_divergence != nullptr) output.kl_divergence[iteration] = divergence;
    field.done = last || (tolerance > 0 && iteration > 0 && before - divergence < tolerance);
  }
  if (!field.aborted) write(field, output);
}

}  // namespace

size_t crf_working_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes, bool measures) {
  const int64_t rows = std::accumulate(vertices.begin(), vertices.end(), points * (measures ? 2 : 1));
  return rows * row_stride(classes) * sizeof(float);
}

Result<std::unique_ptr<DenseCrf>> DenseCrf::build(const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                                  int threads, const std::atomic<bool>& cancelled) {
  auto crf = std::make_unique<DenseCrf>();
  crf->width_ = image.w;
  crf->points_ = image.h * image.w;
  // Small images are done before more threads have met at the first barrier.
  constexpr int64_t kPointsOfThread = 2048;
  crf->threads_ = threads = static_cast<int>(std::clamp<int64_t>(crf->points_ / kPointsOfThread, 1, threads));
  omp_set_num_threads(threads);
  for (const CrfTerm& term : model.terms) {
    const LatticePoints points{term, model.coordinates, image.w, image.h, pixels, image.c};
    auto lattice = term.kernel == CrfKernel::kGaussian ? gaussian_lattice(points, threads, cancelled)
                                                       : build_lattice(points, threads, cancelled);
    if (!lattice.ok()) return lattice.status();
    crf->terms_.push_back({term.compatibility, std::move(*lattice)});
  }
  return crf;
}

size_t DenseCrf::lattice_bytes() const {
  size_t bytes = 0;
  for (const Term& term : terms_) bytes += term.lattice->bytes();
  return bytes;
}

std::vector<int64_t> DenseCrf::vertices() const {
  std::vector<int64_t> counts;
  for (const Term& term : terms_) counts.push_back(term.lattice->vertices);
  return counts;
}

Status DenseCrf::infer(CrfUnary unary, const CrfInference& inference, const CrfOutput& output,
                       const std::atomic<bool>& cancelled) {
  const CoreLease cores(threads_, cancelled);
  if (!cores.held()) return error(Code::kAborted, "the inference was aborted");
  omp_set_num_threads(threads_);
  Array<float> rows;
  const size_t floats = points_ * row_stride(unary.classes);
  DEEPLAB_RETURN_IF_ERROR(check_memory(floats * sizeof(float), "the CRF's unary potentials"));
  DEEPLAB_RETURN_IF_ERROR(rows.allocate(floats));
  DEEPLAB_RETURN_IF_ERROR(write_unary(unary, width_, points_, rows.data(), cancelled));
  unary.values.free();
  unary.labels.free();
  return infer_rows(rows.data(), unary.classes, inference, output, cancelled);
}

// The term for rows of `classes`, with its lattice's gain in its weights, which are kept in `table`.
FilteredTerm DenseCrf::filtered_term(const Term& term, CompatibilityKind kind, int64_t classes,
                                     std::vector<float>* table) {
  const float gain = term.lattice->gain;
  FilteredTerm filtered;
  filtered.lattice = term.lattice.get();
  filtered.kind = kind;
  if (kind == CompatibilityKind::kPotts) {
    filtered.weight = term.compatibility[0] * gain;
    return filtered;
  }
  *table = compatibility_table(term.compatibility, classes, row_stride(classes), gain);
  filtered.table = table->data();
  return filtered;
}

Status DenseCrf::infer_rows(const float* unary, int64_t classes, const CrfInference& inference, const CrfOutput& output,
                            const std::atomic<bool>& cancelled) const {
  MeanField field(threads_, cancelled);
  field.measures = inference.tolerance > 0 || output.kl_divergence != nullptr;
  field.points = points_;
  const int64_t stride = row_stride(classes);
  field.step.classes = classes;
  field.step.stride = stride;
  field.step.unary = unary;

  std::vector<std::vector<float>> tables(terms_.size());
  for (size_t i = 0; i < terms_.size(); ++i) {
    const auto kind = compatibility_kind(terms_[i].compatibility, i, classes);
    if (!kind.ok()) return kind.status();
    field.terms.push_back(filtered_term(terms_[i], *kind, classes, &tables[i]));
  }
  DEEPLAB_RETURN_IF_ERROR(
      check_memory(crf_working_bytes(points_, vertices(), classes, field.measures), "the CRF's inference"));
  for (size_t i = 0; i < terms_.size(); ++i) {
    field.values.emplace_back();
    DEEPLAB_RETURN_IF_ERROR(field.values[i].allocate(terms_[i].lattice->vertices * stride));
    field.terms[i].values = field.values[i].data();
  }
  for (int i = 0; i < (field.measures ? 2 : 1); ++i) {
    DEEPLAB_RETURN_IF_ERROR(field.marginals[i].allocate(points_ * stride));
    field.energies[i].resize((points_ + kBlock - 1) / kBlock);
  }
  field.team.run([&](int member) { deeplab::infer(field, member, inference, output); });
  return field.aborted || cancelled ? error(Code::kAborted, "the inference was aborted") : Status();
}

}  // namespace deeplab

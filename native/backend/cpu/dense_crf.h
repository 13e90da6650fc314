// The fully connected CRF of an image: a lattice for each pairwise term, and mean-field inference with them.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/lattice.h"
#include "backend/cpu/mean_field.h"

namespace deeplab {

// Memory that inference works in: a row for each point, two where divergences are wanted, and one for each vertex.
size_t crf_working_bytes(int64_t points, const std::vector<int64_t>& vertices, int64_t classes, bool measures);

class DenseCrf : public Crf {
 public:
  // `image` is [1,channels,H,W]. Uses `threads` threads, now and to infer. As build_lattice, it can be cancelled.
  static Result<std::unique_ptr<DenseCrf>> build(const Shape& image, const uint8_t* pixels, const CrfModel& model,
                                                 int threads, const std::atomic<bool>& cancelled);

  size_t lattice_bytes() const override;
  std::vector<int64_t> vertices() const override;
  Status infer(CrfUnary unary, const CrfInference& inference, const CrfOutput& output,
               const std::atomic<bool>& cancelled) override;

  // On energies that are already in rows (cpu/crf_unary.h): [H * W, row_stride(classes)]. As `build`, it leaves it to
  // the caller to hold a CoreLease.
  Status infer_rows(const float* unary, int64_t classes, const CrfInference& inference, const CrfOutput& output,
                    const std::atomic<bool>& cancelled) const;

 private:
  struct Term {
    std::vector<float> compatibility;
    std::shared_ptr<const Lattice> lattice;
  };

  static FilteredTerm filtered_term(const Term& term, CompatibilityKind kind, int64_t classes,
                                    std::vector<float>* table);

  int64_t width_ = 0;
  int64_t points_ = 0;
  int threads_ = 1;
  std::vector<Term> terms_;
};

}  // namespace deeplab

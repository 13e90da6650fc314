// Mean-field inference on the device, with lattices that are built (Krähenbühl and Koltun 2011, algorithm 1). Nothing
// here waits for the device but what measures; docs/decisions/0007-crf-on-the-gpu.md counts what an iteration moves.
#pragma once

#include <atomic>
#include <vector>

#include "backend/cuda/lattice.h"
#include "backend/cuda/mean_field_kernels.h"
#include "crf/compatibility.h"

namespace deeplab::cuda {

class MeanField {
 public:
  // For rows of `classes`. Where it `measures`, free energies are known, and marginals come from one buffer into
  // another. `model` and `lattices` have the same terms; neither is kept.
  static Result<MeanField> create(Stream stream, int64_t points, const CrfModel& model, const Lattices& lattices,
                                  int classes, bool measures);
  // Again after the lattices have grown.
  Status make_room(Stream stream, const Lattices& lattices);

  // Which marginals, 0 or 1, are the result of all iterations; `unary` is [points, row_stride(classes)] with padding.
  // Where it measures, it waits after each iteration, gives its divergence, unless `kl_divergence` is null, and heeds
  // the tolerance and `cancelled`.
  Result<int> infer(Stream stream, const Lattices& lattices, const float* unary, const CrfInference& inference,
                    double* kl_divergence, const std::atomic<bool>& cancelled) const;
  // Labels [points] and, unless null, marginals [classes,points].
  Status write(Stream stream, int from, uint8_t* labels, float* marginals) const;
  bool measures() const { return measured_.size() > 0; }
  // Device memory that it holds.
  size_t bytes() const;

 private:
  struct Term {
    CompatibilityKind kind;
    float factor = 0;     // kPotts
    DeviceBuffer table;   // [lanes] or [classes, lanes]
    DeviceBuffer values;  // [capacity, lanes]
  };

  Status infer_measured(Stream stream, const Lattices& lattices, const float* unary, const CrfInference& inference,
                        double* kl_divergence, const std::atomic<bool>& cancelled, int* result) const;
  // Marginals `to` from marginals `from`: 0, or the other one where it measures. `to` is negative to measure only.
  Status iterate(Stream stream, const Lattices& lattices, const float* unary, int from, int to) const;
  // What the last step measured; waits for it.
  Status look(Stream stream, FreeEnergy* energy) const;
  // Marginals `to`, or only the free energy.
  Status update(Stream stream, const float* energies, int term_count, const float* unary, int from, int to) const;
  PointLanes point_lanes() const { return {points_, lanes_}; }

  uint32_t points_ = 0;
  uint32_t classes_ = 0;
  uint32_t lanes_ = 0;
  std::vector<Term> terms_;
  int sliced_count_ = 0;
  DeviceBuffer sliced_;  // SlicedTerm of each term but those of matrices
  DeviceBuffer blurred_, extras_;
  DeviceBuffer energies_;  // with the messages of matrices
  DeviceBuffer marginals_[2];
  DeviceBuffer block_energies_, measured_;
};

}  // namespace deeplab::cuda

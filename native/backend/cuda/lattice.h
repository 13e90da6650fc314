// The permutohedral lattices of a CRF's terms on the device: which vertices an image's points splat to and slice from,
// and which vertices are neighbours. Built by sorting, without a look at the host; how to filter with them is
// lattice_filter.h's. docs/decisions/0007-crf-on-the-gpu.md says why.
#pragma once

#include <vector>

#include "backend/cuda/lattice_filter.h"
#include "backend/cuda/lattice_kernels.h"
#include "core/tensor.h"
#include "crf/lattice_layout.h"

namespace deeplab::cuda {

// Memory that building takes besides the lattice. Lattices that are built one after the other share it.
struct LatticeScratch {
  DeviceBuffer keys, gathered, sorted_keys, splats, sorted_splats, numbers, chunk_numbers, vertex_codes, splat_begin;
  DeviceBuffer factors, values, blurred, extras;  // for the normalization
  DeviceBuffer algorithms;
};

class Lattice {
 public:
  // Makes room for `capacity` vertices, or for as many as the points are likely to have if that is 0.
  static Result<Lattice> create(const LatticePoints& points, int64_t capacity);
  Status reserve(LatticeScratch* scratch) const;

  // The one of `pixels` or `features` that the kernel compares is read, in device memory.
  Status build(Stream stream, const uint8_t* pixels, const float* features, const LatticeScratch& scratch) const;
  LatticeView view() const;

  bool reads_pixels() const { return points_.kernel == CrfKernel::kBilateral; }
  LatticeCounts* counts() const { return counts_.as<LatticeCounts>(); }
  int64_t capacity() const { return capacity_; }
  int64_t splats() const { return points_.points * (points_.dimensions + 1); }
  float gain() const { return lattice_gain(points_.dimensions); }
  size_t bytes() const;
  // Makes room; what was built is lost.
  Status grow(int64_t capacity);

 private:
  template <int kWords>
  Status build_words(Stream stream, const PointFeatures& points, const LatticeScratch& scratch) const;
  template <int kWords>
  Status locate(Stream stream, const PointFeatures& points, const LatticeScratch& scratch) const;
  Status normalize(Stream stream, const LatticeScratch& scratch) const;

  PointFeatures points_{};
  CodeLayout layout_;
  CrfNormalization normalization_ = CrfNormalization::kNone;
  int64_t capacity_ = 0;
  DeviceBuffer splats_, chunks_, extra_vertices_, neighbors_, corners_, weights_, counts_;
};

class Lattices {
 public:
  // Those that do not depend on the pixels are built here. `capacity` as for Lattice.
  static Result<Lattices> create(Stream stream, const Shape& image, const CrfModel& model, int64_t capacity);

  // Builds the others. `pixels` are in device memory.
  Status build(Stream stream, const uint8_t* pixels) const;
  // Waits. Whether all lattices that were built since the last call had room; if not, they have now, elsewhere.
  Result<bool> settle(Stream stream);
  // No more images come.
  void free_scratch() { scratch_ = LatticeScratch(); }

  const std::vector<Lattice>& all() const { return lattices_; }
  // As of the last settle().
  const std::vector<int64_t>& vertices() const { return vertices_; }
  size_t bytes() const;

 private:
  std::vector<Lattice> lattices_;
  std::vector<int64_t> vertices_;
  LatticeScratch scratch_;
};

}  // namespace deeplab::cuda

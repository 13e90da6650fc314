// The fully connected CRF on the device: lattices and mean field, without a look at the host in between. The same
// mathematics as the CPU's (crf/), in the same order, deterministic.
#pragma once

#include <memory>

#include "backend/cuda/device.h"
#include "core/tensor.h"
#include "crf/parameters.h"

namespace deeplab::cuda {

// Rows of classes are this many floats long: whole 16-byte words.
constexpr int64_t row_stride(int64_t classes) { return (classes + 3) / 4 * 4; }

class DenseCrf {
 public:
  // For images [1,channels,H,W], one after the other; allocates, and waits. The lattices of terms that are not
  // bilateral are built here. Only one `with_tolerance` heeds a tolerance; it waits after each iteration. There is room
  // for `vertices` in each lattice; 0: as many as an image probably needs.
  static Result<std::unique_ptr<DenseCrf>> create(Stream stream, const Shape& image, const CrfModel& model, int classes,
                                                  bool with_tolerance, int64_t vertices = 0);
  virtual ~DenseCrf() = default;
  // Device memory that it holds.
  virtual size_t bytes() const = 0;

  // Builds the lattices of an image, uint8 [H,W,channels] in device memory; null where no kernel is bilateral.
  virtual Status build(Stream stream, const uint8_t* pixels) = 0;
  // `unary` is [H * W, row_stride(classes)] in device memory, padding kPaddingEnergy (crf/unary.h). Writes labels [H,W]
  // and, unless null, marginals [classes,H,W], both in device memory.
  virtual Status infer(Stream stream, const float* unary, const CrfInference& inference, uint8_t* labels,
                       float* marginals) = 0;
  // Once all of that is done: whether every lattice since the last call had room for its vertices. If not, results are
  // void, and there is room now, elsewhere in memory (a captured graph is void as well): build and infer again. After
  // an error the object is of no use any more.
  virtual Result<bool> settle(Stream stream) = 0;
};

}  // namespace deeplab::cuda

// Lattices of Gaussian kernels, which depend on the image's size and not on its pixels.
#pragma once

#include "backend/cpu/lattice.h"

namespace deeplab {

// As build_lattice, of a kGaussian term; a lattice that was built lately is taken again. The process keeps
// kCachedLatticeBytes of them.
constexpr size_t kCachedLatticeBytes = size_t{64} << 20;
Result<std::shared_ptr<const Lattice>> gaussian_lattice(const LatticePoints& points, int threads,
                                                        const std::atomic<bool>& cancelled);

}  // namespace deeplab

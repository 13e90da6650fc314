// Winograd convolution F(4x4,3x3) (Lavin and Gray, arXiv 1509.09308) for 3x3 convolutions of stride 1 and any atrous
// rate: 36 products per channel pair for 16 outputs, where the direct form takes 144. A dilated convolution is one
// ordinary convolution for each of its rate^2 phases, so a tile simply reads and writes every rate-th pixel and no
// activation is rearranged. f32 only: the transforms magnify rounding errors, which f32 has to spare and bf16 has not.
#pragma once

#include "backend/cpu/convolution.h"

namespace deeplab {

// Whether this layer can be done so, and at this size with less work.
bool prefers_winograd(const LayerCompiler& compiler, const Conv2d& op, const Shape& output);

Result<Step> compile_winograd(const LayerCompiler& compiler, const Conv2d& op, const Shape& input, const Shape& output);

}  // namespace deeplab

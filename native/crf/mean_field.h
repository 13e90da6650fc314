// The arithmetic of mean field: exponentials and logarithms that are the same on every device. Range reduction after
// Cody and Waite; the logarithm's polynomial is the Cephes library's. Relative error below 2e-7.
#pragma once

#include "crf/real.h"

namespace deeplab {

// e^x for x <= 0; below -60, e^-60, so that products with small weights do not become subnormal numbers, which are slow.
template <typename Real>
DEEPLAB_INLINE Real exp_nonpositive(Real x) {
  using Bits = BitsOf<Real>;
  const Real lowest = Real{} - 60.0f;
  const Real clamped = x > lowest ? x : lowest;
  const Real shifted = clamped * 1.44269504f + kIntegerMagic;
  const Real n = shifted - kIntegerMagic;
  const Real r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  // Minimax in relative error for |r| <= ln 2 / 2, with the first two coefficients 1.
  Real p = r * 1.3836794e-3f + 8.374857e-3f;
  p = p * r + 4.166823e-2f;
  p = p * r + 1.6666420e-1f;
  p = p * r + 4.9999991e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Bits exponent = reinterpret_bits<Bits>(shifted) << 23;
  return reinterpret_bits<Real>(Bits(reinterpret_bits<Bits>(p) + exponent));
}

// ln x for normal x > 0.
template <typename Real>
DEEPLAB_INLINE Real log_positive(Real x) {
  using Bits = BitsOf<Real>;
  const Real zero{};
  const Bits bits = reinterpret_bits<Bits>(x);
  // x = m * 2^e with m in [0.5, 1); then m in [sqrt 1/2, sqrt 2).
  const Bits exponent_bits = (bits >> 23) - 126;
  Real m = reinterpret_bits<Real>(Bits((bits & 0x007fffff) | 0x3f000000));
  Real e = reinterpret_bits<Real>(Bits(exponent_bits + kIntegerMagicBits)) - kIntegerMagic;
  const Real root = zero + 0.707106781f;
  e = m < root ? e - 1.0f : e;
  m = m < root ? m + m - 1.0f : m - 1.0f;
  const Real z = m * m;
  Real p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const Real low = p * m * z - e * 2.12194440e-4f - z * 0.5f;
  return (m + low) + e * 0.693359375f;
}

}  // namespace deeplab

#include "backend/cpu/channel_loops.h"

#include <cstring>

#include "backend/cpu/element.h"
#include "backend/cpu/vector.h"
#include "crf/real.h"

namespace deeplab {
namespace {

using Halves = uint16_t __attribute__((vector_size(32), aligned(2), may_alias));
using Words = uint32_t __attribute__((vector_size(64)));

DEEPLAB_INLINE Floats load_elements(const float* data) { return load(data); }
DEEPLAB_INLINE Floats load_elements(const uint16_t* data) {
  return (Floats)(__builtin_convertvector(*reinterpret_cast<const Halves*>(data), Words) << 16);
}
DEEPLAB_INLINE void store_elements(float* data, Floats values) { store(data, values); }
// As bf16_from_float.
DEEPLAB_INLINE void store_elements(uint16_t* data, Floats values) {
  const Words bits = (Words)values;
  *reinterpret_cast<Halves*>(data) = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Halves);
}

// What is not a number stays so, to be seen in the loss.
DEEPLAB_INLINE float activate(float value, float upper) {
  value = value < 0 ? 0 : value;
  return value > upper ? upper : value;
}
DEEPLAB_INLINE Floats activate(Floats value, float upper) {
  const Floats zero{}, top = zero + upper;
  value = value < zero ? zero : value;
  return value > top ? top : value;
}
// The upper bound of an activation that has a lower one.
float upper_bound(Activation activation) { return activation == Activation::kRelu6 ? 6.0f : __builtin_huge_valf(); }

// body(lanes, c) for the channels of one row, in vectors and then one by one: `lanes` is Floats() or float(), there for
// its type.
template <typename Body>
DEEPLAB_INLINE void for_channels(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) body(Floats(), c);
  for (; c < channels; ++c) body(float(), c);
}

// The elements at `data`, as many as Lanes has.
template <typename Lanes, typename T>
DEEPLAB_INLINE Lanes get(const T* data) {
  if constexpr (sizeof(Lanes) == sizeof(float)) {
    return read_element(*data);
  } else {
    return load_elements(data);
  }
}
template <typename T>
DEEPLAB_INLINE void put(T* data, float value) {
  write_element(data, value);
}
template <typename T>
DEEPLAB_INLINE void put(T* data, Floats values) {
  store_elements(data, values);
}

template <typename T>
DEEPLAB_INLINE void sum_channels_of(const T* x, Rows rows, const float* centre, float* sum, float* squares) {
  for (int64_t row = 0; row < rows.rows; ++row, x += rows.channels) {
    for_channels(rows.channels, [&](auto lanes, int64_t c) DEEPLAB_INLINE_LAMBDA {
      using Lanes = decltype(lanes);
      const Lanes difference = get<Lanes>(x + c) - get<Lanes>(centre + c);
      put(sum + c, Lanes(get<Lanes>(sum + c) + difference));
      put(squares + c, Lanes(get<Lanes>(squares + c) + difference * difference));
    });
  }
}

template <bool kResidual, bool kActivation, typename T>
DEEPLAB_INLINE void scale_channels_of(const T* x, const T* residual, Rows rows, const float* scale, const float* shift,
                                      float upper, T* y) {
  for (int64_t row = 0; row < rows.rows; ++row) {
    for_channels(rows.channels, [&](auto lanes, int64_t c) DEEPLAB_INLINE_LAMBDA {
      using Lanes = decltype(lanes);
      Lanes value = get<Lanes>(x + c) * get<Lanes>(scale + c) + get<Lanes>(shift + c);
      if constexpr (kResidual) value = value + get<Lanes>(residual + c);
      if constexpr (kActivation) value = activate(value, upper);
      put(y + c, value);
    });
    x += rows.channels;
    y += rows.channels;
    if constexpr (kResidual) residual += rows.channels;
  }
}

template <typename T>
DEEPLAB_INLINE void scale_channels_of(const T* x, const T* residual, Rows rows, const float* scale, const float* shift,
                                      Activation activation, T* y) {
  const float upper = upper_bound(activation);
  const bool activates = activation != Activation::kNone;
  if (residual != nullptr && activates) {
    scale_channels_of<true, true>(x, residual, rows, scale, shift, upper, y);
  } else if (residual != nullptr) {
    scale_channels_of<true, false>(x, residual, rows, scale, shift, upper, y);
  } else if (activates) {
    scale_channels_of<false, true>(x, residual, rows, scale, shift, upper, y);
  } else {
    scale_channels_of<false, false>(x, residual, rows, scale, shift, upper, y);
  }
}

// Positive numbers are in the order of their bits: an activation let through what is from 1 to below the bits of its
// upper bound. GCC makes vectors of this loop, but not of comparisons of Floats.
template <typename Bits>
DEEPLAB_INLINE void mask_gradient_bits(Bits* gradient, const Bits* y, int64_t elements, Bits upper) {
  for (int64_t i = 0; i < elements; ++i) {
    gradient[i] = static_cast<Bits>(y[i] - 1) < static_cast<Bits>(upper - 1) ? gradient[i] : Bits(0);
  }
}
DEEPLAB_INLINE void mask_gradient_of(uint16_t* gradient, const uint16_t* y, int64_t elements, float upper) {
  mask_gradient_bits<uint16_t>(gradient, y, elements, bf16_from_float(upper));
}
DEEPLAB_INLINE void mask_gradient_of(float* gradient, const float* y, int64_t elements, float upper) {
  using Bits = uint32_t __attribute__((may_alias));
  mask_gradient_bits<Bits>(reinterpret_cast<Bits*>(gradient), reinterpret_cast<const Bits*>(y), elements,
                           bits_from_float(upper));
}

template <typename T>
DEEPLAB_INLINE void sum_gradients_of(const T* gradient, const T* x, Rows rows, const float* centre, float* sum,
                                     float* products) {
  for (int64_t row = 0; row < rows.rows; ++row, x += rows.channels, gradient += rows.channels) {
    for_channels(rows.channels, [&](auto lanes, int64_t c) DEEPLAB_INLINE_LAMBDA {
      using Lanes = decltype(lanes);
      const Lanes value = get<Lanes>(gradient + c);
      put(sum + c, Lanes(get<Lanes>(sum + c) + value));
      const Lanes product = value * (get<Lanes>(x + c) - get<Lanes>(centre + c));
      put(products + c, Lanes(get<Lanes>(products + c) + product));
    });
  }
}

template <bool kX, bool kAdd, typename T>
DEEPLAB_INLINE void combine_gradients_of(const T* gradient, const T* x, Rows rows, const float* a, const float* b,
                                         const float* constant, T* out) {
  for (int64_t row = 0; row < rows.rows; ++row) {
    for_channels(rows.channels, [&](auto lanes, int64_t c) DEEPLAB_INLINE_LAMBDA {
      using Lanes = decltype(lanes);
      Lanes value = get<Lanes>(gradient + c) * get<Lanes>(a + c);
      if constexpr (kX) value = value + get<Lanes>(x + c) * get<Lanes>(b + c) + get<Lanes>(constant + c);
      if constexpr (kAdd) value = value + get<Lanes>(out + c);
      put(out + c, value);
    });
    gradient += rows.channels;
    out += rows.channels;
    if constexpr (kX) x += rows.channels;
  }
}

template <typename T>
DEEPLAB_INLINE void combine_gradients_of(const T* gradient, const T* x, Rows rows, const float* a, const float* b,
                                         const float* constant, bool add, T* out) {
  if (x != nullptr && add) {
    combine_gradients_of<true, true>(gradient, x, rows, a, b, constant, out);
  } else if (x != nullptr) {
    combine_gradients_of<true, false>(gradient, x, rows, a, b, constant, out);
  } else if (add) {
    combine_gradients_of<false, true>(gradient, x, rows, a, b, constant, out);
  } else {
    combine_gradients_of<false, false>(gradient, x, rows, a, b, constant, out);
  }
}

template <typename T>
DEEPLAB_INLINE void add_elements_of(const T* x, int64_t elements, T* out) {
  for_channels(elements, [&](auto lanes, int64_t i) DEEPLAB_INLINE_LAMBDA {
    using Lanes = decltype(lanes);
    put(out + i, Lanes(get<Lanes>(out + i) + get<Lanes>(x + i)));
  });
}

}  // namespace

// Of each element type one function that is compiled for each instruction set.
#define DEEPLAB_FOR_ELEMENTS(T)                                                                                    \
  DEEPLAB_MULTIVERSION                                                                                             \
  void sum_channels(const T* x, Rows rows, const float* centre, float* sum, float* squares) {                      \
    sum_channels_of(x, rows, centre, sum, squares);                                                                \
  }                                                                                                                \
  DEEPLAB_MULTIVERSION                                                                                             \
  void scale_channels(const T* x, const T* residual, Rows rows, const float* scale, const float* shift,            \
                      Activation activation, T* y) {                                                               \
    scale_channels_of(x, residual, rows, scale, shift, activation, y);                                             \
  }                                                                                                                \
  DEEPLAB_MULTIVERSION                                                                                             \
  void mask_gradient(T* gradient, const T* y, int64_t elements, Activation activation) {                           \
    if (activation != Activation::kNone) mask_gradient_of(gradient, y, elements, upper_bound(activation));         \
  }                                                                                                                \
  DEEPLAB_MULTIVERSION                                                                                             \
  void sum_gradients(const T* gradient, const T* x, Rows rows, const float* centre, float* sum, float* products) { \
    sum_gradients_of(gradient, x, rows, centre, sum, products);                                                    \
  }                                                                                                                \
  DEEPLAB_MULTIVERSION                                                                                             \
  void combine_gradients(const T* gradient, const T* x, Rows rows, const float* a, const float* b,                 \
                         const float* constant, bool add, T* out) {                                                \
    combine_gradients_of(gradient, x, rows, a, b, constant, add, out);                                             \
  }                                                                                                                \
  DEEPLAB_MULTIVERSION                                                                                             \
  void add_elements(const T* x, int64_t elements, bool add, T* out) {                                              \
    if (add) {                                                                                                     \
      add_elements_of(x, elements, out);                                                                           \
    } else {                                                                                                       \
      std::memcpy(out, x, elements * sizeof(T));                                                                   \
    }                                                                                                              \
  }

DEEPLAB_FOR_ELEMENTS(float)
DEEPLAB_FOR_ELEMENTS(uint16_t)
#undef DEEPLAB_FOR_ELEMENTS

DEEPLAB_MULTIVERSION
void descend(float* value, float* momentum, float* gradient, int64_t elements, float rate, float decay, float mu) {
  for (int64_t i = 0; i < elements; ++i) {
    momentum[i] = mu * momentum[i] + (gradient[i] + decay * value[i]);
    value[i] -= rate * momentum[i];
    gradient[i] = 0;
  }
}

}  // namespace deeplab

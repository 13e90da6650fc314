// Loops over activations in memory, [rows][channels] of float or of uint16_t, which holds bf16, as training needs them:
// each goes once over what it reads. Serial, to be called from parallel loops; sums are f32.
#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace deeplab {

// The part of an activation that a call is about: `rows` times `channels` elements.
struct Rows {
  int64_t rows = 0;
  int64_t channels = 0;
  int64_t elements() const { return rows * channels; }
};

// sum[c] and squares[c] of x - centre[c].
void sum_channels(const float* x, Rows rows, const float* centre, float* sum, float* squares);
void sum_channels(const uint16_t* x, Rows rows, const float* centre, float* sum, float* squares);

// y = activation(x * scale[c] + shift[c] + residual); `residual` may be null.
void scale_channels(const float* x, const float* residual, Rows rows, const float* scale, const float* shift,
                    Activation activation, float* y);
void scale_channels(const uint16_t* x, const uint16_t* residual, Rows rows, const float* scale, const float* shift,
                    Activation activation, uint16_t* y);

// gradient = 0 where the activation's output y shows that it let nothing through.
void mask_gradient(float* gradient, const float* y, int64_t elements, Activation activation);
void mask_gradient(uint16_t* gradient, const uint16_t* y, int64_t elements, Activation activation);

// sum[c] of the gradient and products[c] of gradient * (x - centre[c]).
void sum_gradients(const float* gradient, const float* x, Rows rows, const float* centre, float* sum, float* products);
void sum_gradients(const uint16_t* gradient, const uint16_t* x, Rows rows, const float* centre, float* sum,
                   float* products);

// out = gradient * a[c] + x * b[c] + c0[c], or out + that. Without `x`, gradient * a[c].
void combine_gradients(const float* gradient, const float* x, Rows rows, const float* a, const float* b,
                       const float* constant, bool add, float* out);
void combine_gradients(const uint16_t* gradient, const uint16_t* x, Rows rows, const float* a, const float* b,
                       const float* constant, bool add, uint16_t* out);

// out = x, or out + x.
void add_elements(const float* x, int64_t elements, bool add, float* out);
void add_elements(const uint16_t* x, int64_t elements, bool add, uint16_t* out);

// One step of SGD (ParameterUpdate); the gradient becomes zero.
void descend(float* value, float* momentum, float* gradient, int64_t elements, float rate, float decay, float mu);

}  // namespace deeplab

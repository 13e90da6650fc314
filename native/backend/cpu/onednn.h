// The part of oneDNN that differs between versions 2 and 3, under one set of names. Everything else in cpu/ uses what
// both have.
#pragma once

#include <dnnl.hpp>
#include <mutex>
#include <string>

#include "backend/backend.h"
#include "graph/shapes.h"

namespace deeplab::onednn {

using dnnl::memory;

// The engine is the whole CPU; there is one for the process.
const dnnl::engine& engine();

// To be held by who creates primitives. oneDNN 2.6 makes wrong code now and then, and keeps it, where two threads
// create them in different precisions at once (test/concurrency.test.ts); running them is safe.
std::mutex& creation_mutex();

struct ConvolutionSpec {
  memory::desc source;
  memory::desc weights;
  memory::desc bias;
  memory::desc destination;
  int stride = 1;
  int dilation = 1;
  WindowExtent rows;
  WindowExtent columns;
  bool training = false;             // what runs forward in a training step
  bool adds_to_destination = false;  // destination = result + destination, before the activation
  Activation activation = Activation::kNone;
};

// These throw dnnl::error where oneDNN has no implementation.
dnnl::convolution_forward::primitive_desc describe_convolution(const ConvolutionSpec& spec);
// The backward passes of a convolution that `forward`, of the same spec, describes: to its source, and to kernel and
// bias, whose gradients have the types of `kernel` and `bias`.
dnnl::convolution_backward_data::primitive_desc describe_backward_data(
    const ConvolutionSpec& spec, const dnnl::convolution_forward::primitive_desc& forward);
dnnl::convolution_backward_weights::primitive_desc describe_backward_weights(
    const ConvolutionSpec& spec, const memory::desc& kernel, const memory::desc& bias,
    const dnnl::convolution_forward::primitive_desc& forward);
// `algorithm`: pooling_max or pooling_avg_include_padding.
dnnl::pooling_forward::primitive_desc describe_pooling(dnnl::algorithm algorithm, const memory::desc& source,
                                                       const memory::desc& destination, const Window& window,
                                                       const WindowExtent& rows, const WindowExtent& columns);
// The same for training: `forward` keeps in a workspace what `backward` asks for.
struct TrainingPooling {
  dnnl::pooling_forward::primitive_desc forward;
  dnnl::pooling_backward::primitive_desc backward;
};
TrainingPooling describe_training_pooling(dnnl::algorithm algorithm, const memory::desc& source,
                                          const memory::desc& destination, const Window& window,
                                          const WindowExtent& rows, const WindowExtent& columns);
// To the layout of `to`, or added to what is there.
dnnl::reorder::primitive_desc describe_reorder(const memory::desc& from, const memory::desc& to, bool add);
dnnl::matmul::primitive_desc describe_matmul(const memory::desc& source, const memory::desc& weights,
                                             const memory::desc& destination);

memory::data_type data_type(Precision precision);

std::string version();
// The best instruction set that oneDNN may use here, ONEDNN_MAX_CPU_ISA considered.
std::string isa_name();
bool has_amx();
bool has_bf16();

}  // namespace deeplab::onednn

// Image-level features and the concatenation of branches (DeepLab v3's ASPP), as kernels. Activations are NHWC,
// channels in eights.
#pragma once

#include "backend/cuda/device.h"
#include "backend/cuda/element.h"

namespace deeplab::cuda {

// [N,area,8 * in_eights] -> [N,channels]: the mean, always summed in the same order. A block for kEights * 8 channels
// of an image: a thread sums eight channels of every kLanes-th pixel.
template <typename T>
struct GlobalAveragePoolKernel {
  static constexpr int kThreads = kBlockThreads, kPhases = 2;
  static constexpr int kEights = 4, kLanes = kThreads / kEights, kChannels = 8 * kEights;
  struct State {};
  struct Shared {
    float sums[kLanes][kChannels];
  };

  const Eight<T>* input;
  int64_t area, in_eights;
  int64_t channels;  // of the output
  T* output;

  static constexpr int64_t groups(int64_t channels) { return (channels + kChannels - 1) / kChannels; }

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    const int64_t n = block / groups(channels), first = block % groups(channels) * kChannels;
    if constexpr (kPhase == 0) {
      const int lane = thread / kEights, part = thread % kEights;
      const int64_t eight = first / 8 + part;
      float sums[8] = {};
      if (eight < in_eights) {
        for (int64_t pixel = lane; pixel < area; pixel += kLanes) {
          const Eight<T> values = input[(n * area + pixel) * in_eights + eight];
          for (int c = 0; c < 8; ++c) sums[c] += to_float(values.values[c]);
        }
      }
      for (int c = 0; c < 8; ++c) shared.sums[lane][8 * part + c] = sums[c];
    } else if (thread < kChannels && first + thread < channels) {
      float sum = 0;
      for (int lane = 0; lane < kLanes; ++lane) sum += shared.sums[lane][thread];
      output[n * channels + first + thread] = from_float<T>(sum / static_cast<float>(area));
    }
  }
};

// One input of a concatenation: its channels, followed by zeros, become channels first to end of the output. A thread
// for eight of them. Inputs come one after the other: each may write zeros where the next one begins.
template <typename T>
struct ConcatKernel {
  const Eight<T>* input;
  int64_t in_eights;
  bool repeated;  // the input is one pixel
  int64_t area;   // of an image of the output
  int64_t first, end;
  int64_t out_channels;  // as they are in memory
  T* output;

  DEEPLAB_INLINE int64_t eights() const { return (end - first + 7) / 8; }

  DEEPLAB_INLINE void operator()(int64_t i) const {
    const int64_t eight = i % eights(), pixel = i / eights();
    Eight<T> values;
    if (eight < in_eights) {
      values = input[(repeated ? pixel / area : pixel) * in_eights + eight];
    } else {
      for (int c = 0; c < 8; ++c) values.values[c] = from_float<T>(0.0f);
    }
    const int64_t channel = first + 8 * eight;
    T* out = output + pixel * out_channels + channel;
    if (first % 8 == 0) {
      *reinterpret_cast<Eight<T>*>(out) = values;
      return;
    }
    for (int c = 0; c < 8 && channel + c < end; ++c) out[c] = values.values[c];
  }
};

}  // namespace deeplab::cuda

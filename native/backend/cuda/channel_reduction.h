// Sums over the pixels of an activation, for each of its channels, always in the same order: no atomics, so that a
// training run repeats bit by bit. First blocks of threads sum a chunk of the pixels each, then one thread for each
// channel ends with the sum of the chunks.
#pragma once

#include <algorithm>

#include "backend/cuda/device.h"
#include "backend/cuda/element.h"

namespace deeplab::cuda {

// How pixels [N*H*W] of channels in eights are divided: a block has `lanes` eights of channels, and rows of threads
// that take every `rows`th pixel of its chunk.
struct ChannelBlocks {
  static constexpr int kThreads = kBlockThreads;

  int64_t pixels, eights;
  int lanes, rows;
  int64_t groups, chunks, chunk;  // blocks per chunk, chunks, and pixels of a chunk

  static ChannelBlocks of(int64_t pixels, int64_t eights) {
    constexpr int64_t kMostLanes = 8;  // 128 bytes of 16-bit elements side by side
    constexpr int64_t kMostBlocks = 1056, kLeastPixels = 4;
    ChannelBlocks blocks{};
    blocks.pixels = pixels;
    blocks.eights = eights;
    blocks.lanes = static_cast<int>(std::min(eights, kMostLanes));
    blocks.rows = kThreads / blocks.lanes;
    blocks.groups = (eights + blocks.lanes - 1) / blocks.lanes;
    const int64_t useful = (pixels + kLeastPixels * blocks.rows - 1) / (kLeastPixels * blocks.rows);
    const int64_t chunks = std::clamp<int64_t>(kMostBlocks / blocks.groups, 1, std::max<int64_t>(useful, 1));
    blocks.chunk = (pixels + chunks - 1) / chunks;
    blocks.chunks = (pixels + blocks.chunk - 1) / blocks.chunk;
    return blocks;
  }

  int64_t blocks() const { return groups * chunks; }
  int64_t channels() const { return 8 * eights; }
  size_t partial_bytes(size_t partial) const { return chunks * channels() * partial; }
};

// A Term has
//   struct Partial { void merge(const Partial& next); };  // of a channel; all zero bits: of no pixels
//   struct Sums { Partial at(int c) const; };              // of eight channels
//   void operator()(int64_t pixel, int64_t eight, Sums& sums) const;  // adds a pixel's
// Partials are [chunks,channels].
template <typename Term>
struct ReduceChannelsKernel {
  using Partial = typename Term::Partial;
  static constexpr int kThreads = ChannelBlocks::kThreads, kPhases = 2;
  struct State {};
  struct Shared {
    Partial partials[kThreads][8];
  };

  ChannelBlocks blocks;
  Term term;
  Partial* partials;

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    const int64_t first = block % blocks.groups * blocks.lanes, chunk = block / blocks.groups;
    if constexpr (kPhase == 0) {
      const int64_t eight = first + thread % blocks.lanes, row = thread / blocks.lanes;
      const int64_t begin = chunk * blocks.chunk, past = begin + blocks.chunk;
      const int64_t end = past < blocks.pixels ? past : blocks.pixels;
      typename Term::Sums sums = {};
      if (row < blocks.rows && eight < blocks.eights) {
        for (int64_t pixel = begin + row; pixel < end; pixel += blocks.rows) term(pixel, eight, sums);
      }
      for (int c = 0; c < 8; ++c) shared.partials[thread][c] = sums.at(c);
    } else if (thread < 8 * blocks.lanes && 8 * first + thread < 8 * blocks.eights) {
      const int lane = thread / 8, c = thread % 8;
      Partial sum = {};
      for (int row = 0; row < blocks.rows; ++row) sum.merge(shared.partials[row * blocks.lanes + lane][c]);
      partials[chunk * 8 * blocks.eights + 8 * first + thread] = sum;
    }
  }
};

// finish(channel, sum over all pixels), a block for eight channels.
template <typename Partial, typename Finish>
struct FinishChannelsKernel {
  static constexpr int kThreads = kBlockThreads, kPhases = 2, kParts = kThreads / 8;
  struct State {};
  struct Shared {
    Partial sums[kParts][8];
  };

  const Partial* partials;
  int64_t chunks, channels;
  Finish finish;

  template <int kPhase>
  DEEPLAB_INLINE void run(int64_t block, int thread, State&, Shared& shared) const {
    const int c = thread % 8, part = thread / 8;
    const int64_t channel = 8 * block + c;
    if constexpr (kPhase == 0) {
      Partial sum = {};
      for (int64_t chunk = part; chunk < chunks; chunk += kParts) sum.merge(partials[chunk * channels + channel]);
      shared.sums[part][c] = sum;
    } else if (part == 0) {
      Partial sum = {};
      for (int i = 0; i < kParts; ++i) sum.merge(shared.sums[i][c]);
      finish(channel, sum);
    }
  }
};

// `scratch`: blocks.partial_bytes(sizeof(Term::Partial)).
template <typename Term, typename Finish>
Status reduce_channels(Stream stream, const ChannelBlocks& blocks, const Term& term, void* scratch,
                       const Finish& finish) {
  using Partial = typename Term::Partial;
  auto* partials = static_cast<Partial*>(scratch);
  DEEPLAB_RETURN_IF_ERROR(launch_blocks(stream, blocks.blocks(), ReduceChannelsKernel<Term>{blocks, term, partials}));
  return launch_blocks(stream, blocks.eights,
                       FinishChannelsKernel<Partial, Finish>{partials, blocks.chunks, blocks.channels(), finish});
}

// ---- Partials ----

// Mean and sum of squared differences from it, without the cancellation that sums of squares have.
struct Moments {
  float count, mean, squares;

  DEEPLAB_INLINE void merge(const Moments& next) {
    if (next.count == 0) return;
    const float all = count + next.count, difference = next.mean - mean;
    const float part = next.count / all;
    mean += difference * part;
    squares += next.squares + difference * difference * count * part;
    count = all;
  }
};

template <int kCount>
struct Totals {
  float values[kCount];

  DEEPLAB_INLINE void merge(const Totals& next) {
    for (int i = 0; i < kCount; ++i) values[i] += next.values[i];
  }
};

// Of eight channels.
template <int kCount>
struct EightTotals {
  float values[kCount][8];

  DEEPLAB_INLINE Totals<kCount> at(int c) const {
    Totals<kCount> totals;
    for (int i = 0; i < kCount; ++i) totals.values[i] = values[i][c];
    return totals;
  }
};

}  // namespace deeplab::cuda

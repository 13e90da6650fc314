// A vertex of a permutohedral lattice as a key: its d coordinates (the last of d + 1 is what they leave) packed into a
// VertexCode of 1, 2, 4 or 8 words, exactly, with enough room around the range of the features that a step to a
// neighbour is one addition, without carries.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "crf/parameters.h"
#include "crf/real.h"

namespace deeplab {

constexpr int kMaxCodeWords = 8;

template <int kWords>
struct VertexCode {
  std::array<uint64_t, kWords> words{};

  DEEPLAB_INLINE VertexCode operator+(const VertexCode& other) const {
    VertexCode sum;
    for (int i = 0; i < kWords; ++i) sum.words[i] = words[i] + other.words[i];
    return sum;
  }
  DEEPLAB_INLINE VertexCode operator-(const VertexCode& other) const {
    VertexCode difference;
    for (int i = 0; i < kWords; ++i) difference.words[i] = words[i] - other.words[i];
    return difference;
  }
  DEEPLAB_INLINE bool operator==(const VertexCode& other) const {
    uint64_t difference = 0;
    for (int i = 0; i < kWords; ++i) difference |= words[i] ^ other.words[i];
    return difference == 0;
  }
  DEEPLAB_INLINE bool operator<(const VertexCode& other) const {
    for (int i = kWords - 1; i > 0; --i) {
      if (words[i] != other.words[i]) return words[i] < other.words[i];
    }
    return words[0] < other.words[0];
  }

  uint64_t hash() const {
    uint64_t hash = 0;
    for (const uint64_t word : words) hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
  }
};

// Where each coordinate lies in a VertexCode.
struct CodeLayout {
  struct Field {
    int word = 0;
    int shift = 0;
    int64_t lowest = 0;
  };
  int dimensions = 0;
  int words = 0;
  std::array<Field, kMaxCrfDimensions> fields;
  std::array<int, kMaxCodeWords> bits{};  // that are used of each word

  // For vertices around points whose elevated coordinates lie in [low[j], high[j]]; a coordinate takes less than 2^30.
  static CodeLayout fit(int dimensions, const float* low, const float* high) {
    CodeLayout layout;
    layout.dimensions = dimensions;
    int word = 0, used = 0;
    for (int j = 0; j < dimensions; ++j) {
      // Rounding, the way back to the hyperplane, the other corners and their neighbours: each at most d + 1.
      const int64_t margin = 5 * (dimensions + 1);
      const auto lowest = static_cast<int64_t>(std::floor(low[j])) - margin;
      const int64_t values = static_cast<int64_t>(std::ceil(high[j])) + margin - lowest + 1;
      int bits = 1;
      while ((int64_t{1} << bits) < values) ++bits;
      if (used + bits > 64) {
        ++word;
        used = 0;
      }
      layout.fields[j] = {word, used, lowest};
      used += bits;
      layout.bits[word] = used;
    }
    layout.words = word + 1;
    return layout;
  }

  template <int kWords>
  VertexCode<kWords> unit(int coordinate) const {
    VertexCode<kWords> code;
    if (coordinate < dimensions) code.words[fields[coordinate].word] = uint64_t{1} << fields[coordinate].shift;
    return code;
  }

  // The code of a step by one in every coordinate; the last one, which is not stored, is what the others leave.
  template <int kWords>
  VertexCode<kWords> ones() const {
    VertexCode<kWords> code;
    for (int j = 0; j < dimensions; ++j) code = code + unit<kWords>(j);
    return code;
  }

  // d + 1 in one coordinate.
  template <int kWords>
  VertexCode<kWords> step(int coordinate) const {
    VertexCode<kWords> code;
    for (int i = 0; i <= dimensions; ++i) code = code + unit<kWords>(coordinate);
    return code;
  }
};

}  // namespace deeplab

// The vertices of a permutohedral lattice that exist, by their coordinates: a hash table that only grows. The geometry
// is crf/lattice.h's.
//
// The d coordinates of a vertex are packed into a VertexCode of 1, 2, 4 or 8 words, exactly, with enough room around
// the range of the features that a step to a neighbour is one addition, without carries.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/array.h"
#include "crf/parameters.h"

namespace deeplab {

constexpr int kMaxCodeWords = 8;

template <int kWords>
struct VertexCode {
  std::array<uint64_t, kWords> words{};

  VertexCode operator+(const VertexCode& other) const {
    VertexCode sum;
    for (int i = 0; i < kWords; ++i) sum.words[i] = words[i] + other.words[i];
    return sum;
  }
  VertexCode operator-(const VertexCode& other) const {
    VertexCode difference;
    for (int i = 0; i < kWords; ++i) difference.words[i] = words[i] - other.words[i];
    return difference;
  }
  bool operator==(const VertexCode& other) const {
    uint64_t difference = 0;
    for (int i = 0; i < kWords; ++i) difference |= words[i] ^ other.words[i];
    return difference == 0;
  }
  bool operator<(const VertexCode& other) const {
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

// Numbers codes from 0 in the order in which they are first seen. Reports instead of throwing when memory runs out, so
// that parallel loops may use it.
template <int kWords>
class VertexTable {
 public:
  using Key = VertexCode<kWords>;

  Status allocate() { return grow(size_t{1} << 12); }

  // Of `code`, which is given a number if it has none. There must be room: see `reserve`.
  uint32_t insert(const Key& code) {
    const uint64_t hash = code.hash();
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      uint64_t& slot = slots_[i];
      if (slot == 0) {
        codes_[size_] = code;
        slot = make_slot(hash, size_);
        return size_++;
      }
      if (matches(slot, hash, code)) return number_of(slot);
    }
  }

  void prefetch(const Key& code) const { __builtin_prefetch(&slots_[code.hash() & mask_]); }

  // Makes room for `more` insertions.
  Status reserve(size_t more) {
    size_t capacity = slots_.size();
    while (2 * (size_ + more) > capacity) capacity *= 2;
    return capacity == slots_.size() ? Status() : grow(capacity);
  }

  uint32_t size() const { return size_; }
  const Key& code(uint32_t number) const { return codes_[number]; }

 private:
  static uint64_t make_slot(uint64_t hash, uint32_t number) {
    return (hash & ~uint64_t{0xffffffff}) | (uint64_t{number} + 1);
  }
  static uint32_t number_of(uint64_t slot) { return static_cast<uint32_t>(slot) - 1; }
  bool matches(uint64_t slot, uint64_t hash, const Key& code) const {
    return ((slot ^ hash) >> 32) == 0 && codes_[number_of(slot)] == code;
  }

  Status grow(size_t capacity) {
    DEEPLAB_RETURN_IF_ERROR(check_memory(capacity * sizeof(uint64_t) + capacity / 2 * sizeof(Key), "a CRF's lattice"));
    Array<Key> codes;
    Array<uint64_t> slots;
    DEEPLAB_RETURN_IF_ERROR(codes.allocate(capacity / 2));
    DEEPLAB_RETURN_IF_ERROR(slots.allocate_zeros(capacity));
    if (size_ > 0) std::memcpy(codes.data(), codes_.data(), size_ * sizeof(Key));
    mask_ = capacity - 1;
    for (uint32_t number = 0; number < size_; ++number) {
      const uint64_t hash = codes[number].hash();
      size_t i = hash & mask_;
      while (slots[i] != 0) i = (i + 1) & mask_;
      slots[i] = make_slot(hash, number);
    }
    codes_ = std::move(codes);
    slots_ = std::move(slots);
    return Status();
  }

  Array<uint64_t> slots_;  // upper half of the hash, number + 1; zero where nothing is
  Array<Key> codes_;
  size_t mask_ = 0;
  uint32_t size_ = 0;
};

// A vertex that knows its number, to be put in the order of its code.
template <int kWords>
struct NumberedVertex {
  VertexCode<kWords> code;
  uint32_t number = 0;
};

// Sorts by code, digit by digit from the lowest; `vertices` and `scratch` change places.
template <int kWords>
void sort_vertices(const CodeLayout& layout, Array<NumberedVertex<kWords>>* vertices,
                   Array<NumberedVertex<kWords>>* scratch) {
  constexpr int kDigitBits = 11;
  constexpr uint64_t kDigits = uint64_t{1} << kDigitBits;
  for (int word = 0; word < layout.words; ++word) {
    for (int shift = 0; shift < layout.bits[word]; shift += kDigitBits) {
      const auto digit = [&](const NumberedVertex<kWords>& vertex) {
        return (vertex.code.words[word] >> shift) & (kDigits - 1);
      };
      uint32_t begin[kDigits + 1] = {};
      for (size_t i = 0; i < vertices->size(); ++i) ++begin[digit((*vertices)[i]) + 1];
      for (uint64_t i = 0; i < kDigits; ++i) begin[i + 1] += begin[i];
      for (size_t i = 0; i < vertices->size(); ++i) (*scratch)[begin[digit((*vertices)[i])]++] = (*vertices)[i];
      std::swap(*vertices, *scratch);
    }
  }
}

}  // namespace deeplab

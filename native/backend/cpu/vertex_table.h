// The vertices of a permutohedral lattice that exist, by their coordinates: a hash table that only grows. The geometry
// is crf/lattice.h's, the coordinates' packing crf/vertex_code.h's.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "core/array.h"
#include "crf/vertex_code.h"

namespace deeplab {

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

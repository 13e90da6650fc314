#include "backend/cpu/lattice.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>
#include <vector>

#include "backend/cpu/lattice_filter.h"
#include "backend/cpu/lattice_points.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/team.h"
#include "backend/cpu/vertex_table.h"
#include "crf/lattice.h"

namespace deeplab {
namespace {

Status out_of_memory() { return error(Code::kOutOfMemory, "a CRF's lattice needs more memory than there is"); }

// How many points, or vertices, are worked on between two looks at the flag: less than a millisecond's worth.
constexpr int64_t kUnwatched = 4096;
// Of a part of the normalization, which is done or left undone.
constexpr int64_t kPointsOfPart = 1 << 17;

// Builds the lattice of `points` in strips, consecutive points that one thread works on. Strips number vertices for
// themselves, in tables of their own; these are then merged in order, so that the numbers become those of a single
// strip: vertices in the order in which points first touch them, however many strips there are.
template <int kWords>
class Builder {
 public:
  Builder(const LatticePoints& points, const CodeLayout& layout, int threads, const std::atomic<bool>& cancelled,
          Lattice* lattice)
      : points_(points),
        layout_(layout),
        cancelled_(cancelled),
        d_(points.term.dimensions),
        lattice_(*lattice),
        team_(threads) {
    lattice_scales(d_, scales_);
    ones_ = layout.ones<kWords>();
    for (int j = 0; j <= d_; ++j) steps_[j] = layout.step<kWords>(j);
    // No strip without a point, and none that would not be worth a thread.
    const int64_t blocks = (points.count() + kLanes - 1) / kLanes;
    strips_.resize(std::clamp<int64_t>(blocks / 16, 1, threads));
    for (size_t i = 0; i < strips_.size(); ++i) {
      strips_[i].begin = blocks * static_cast<int64_t>(i) / static_cast<int64_t>(strips_.size()) * kLanes;
      if (i > 0) strips_[i - 1].end = strips_[i].begin;
    }
    strips_.back().end = points.count();
  }

  Status build() {
    lattice_.dimensions = d_;
    lattice_.points = points_.count();
    lattice_.gain = lattice_gain(d_);
    const size_t splats = points_.count() * (d_ + 1);
    DEEPLAB_RETURN_IF_ERROR(lattice_.corners.allocate(splats));
    DEEPLAB_RETURN_IF_ERROR(lattice_.weights.allocate(splats));
    DEEPLAB_RETURN_IF_ERROR(each_strip([this](Strip& strip) { return locate(strip); }));
    DEEPLAB_RETURN_IF_ERROR(each_strip([this](Strip& strip) { return count_splats(strip); }));
    DEEPLAB_RETURN_IF_ERROR(number_vertices());
    DEEPLAB_RETURN_IF_ERROR(go_on());
    DEEPLAB_RETURN_IF_ERROR(place_splats());
    DEEPLAB_RETURN_IF_ERROR(lattice_.splats.allocate(splats));
    DEEPLAB_RETURN_IF_ERROR(each_strip([this](Strip& strip) { return fill_splats(strip); }));
    DEEPLAB_RETURN_IF_ERROR(go_on());
    DEEPLAB_RETURN_IF_ERROR(sort());
    DEEPLAB_RETURN_IF_ERROR(each_axis([this](int axis) { return find_chains(axis); }));
    strips_.clear();
    sorted_.free();
    DEEPLAB_RETURN_IF_ERROR(go_on());
    return points_.term.normalization == CrfNormalization::kNone ? Status() : normalize();
  }

 private:
  using Table = VertexTable<kWords>;
  using Key = VertexCode<kWords>;
  using Vertex = NumberedVertex<kWords>;

  Status go_on() const {
    if (!cancelled_.load(std::memory_order_relaxed)) return Status();
    return error(Code::kAborted, "the building of a CRF's lattice was aborted");
  }
  // Of a loop of which this is step `i`.
  Status go_on(int64_t i) const { return i % kUnwatched == 0 ? go_on() : Status(); }

  // On cache lines of its own: its table's size changes with every new vertex.
  struct alignas(128) Strip {
    int64_t begin = 0, end = 0;
    Table table;
    Array<uint32_t> number;  // of each of the strip's vertices, in the whole lattice
    Array<uint32_t> next;    // how many splats it has; then where the strip's next one goes
  };

  template <typename Work>
  Status each_strip(const Work& work) {
    return each(strips_.size(), [&](int64_t i) { return work(strips_[i]); });
  }
  template <typename Work>
  Status each_axis(const Work& work) {
    return each(d_ + 1, [&](int64_t i) { return work(static_cast<int>(i)); });
  }
  template <typename Work>
  Status each(int64_t count, const Work& work) {
    std::vector<Status> statuses(count);
    parallel_for(count, [&](int64_t i) {
      try {
        statuses[i] = go_on();
        if (statuses[i].ok()) statuses[i] = work(i);
      } catch (const std::bad_alloc&) {
        statuses[i] = Status(Code::kOutOfMemory, "");
      }
    });
    for (const Status& status : statuses) {
      if (!status.ok()) return status.code() == Code::kOutOfMemory ? out_of_memory() : status;
    }
    return Status();
  }

  // Finds the simplex of each point; numbers corners as the strip sees them.
  Status locate(Strip& strip) {
    DEEPLAB_RETURN_IF_ERROR(strip.table.allocate());
    LocatedPoints located;
    Key codes[kLanes][kMaxCrfDimensions + 1];
    Key previous[kMaxCrfDimensions + 1];
    for (int64_t first = strip.begin; first < strip.end; first += kLanes) {
      DEEPLAB_RETURN_IF_ERROR(go_on(first - strip.begin));
      const int64_t count = std::min(kLanes, strip.end - first);
      locate_points(points_, scales_, first, count, &located);
      DEEPLAB_RETURN_IF_ERROR(strip.table.reserve(count * (d_ + 1)));
      for (int64_t lane = 0; lane < count; ++lane) {
        encode_corners(located, lane, codes[lane]);
        for (int i = 0; i <= d_; ++i) strip.table.prefetch(codes[lane][i]);
      }
      for (int64_t lane = 0; lane < count; ++lane) {
        const int64_t corner = (first + lane) * (d_ + 1);
        for (int i = 0; i <= d_; ++i) {
          // Many points share corners with the one before.
          const bool same = codes[lane][i] == previous[i] && corner > strip.begin * (d_ + 1);
          lattice_.corners[corner + i] =
              same ? lattice_.corners[corner - d_ - 1 + i] : strip.table.insert(codes[lane][i]);
          lattice_.weights[corner + i] = located.weight[i][lane];
          previous[i] = codes[lane][i];
        }
      }
    }
    return Status();
  }

  // From a corner to the next, all coordinates grow by one, and the one whose turn it is falls by d + 1 (page 6).
  void encode_corners(const LocatedPoints& located, int64_t lane, Key* codes) const {
    int coordinate_of_rank[kMaxCrfDimensions + 1];
    Key code;
    for (int j = 0; j <= d_; ++j) coordinate_of_rank[static_cast<int>(located.rank[j][lane])] = j;
    for (int j = 0; j < d_; ++j) {
      const auto& field = layout_.fields[j];
      const int64_t value = static_cast<int64_t>(located.origin[j][lane]) - field.lowest;
      code.words[field.word] += static_cast<uint64_t>(value) << field.shift;
    }
    codes[0] = code;
    for (int i = 1; i <= d_; ++i) {
      code = code + ones_ - steps_[coordinate_of_rank[d_ - i + 1]];
      codes[i] = code;
    }
  }

  // Counts the splats of the strip's vertices.
  Status count_splats(Strip& strip) {
    DEEPLAB_RETURN_IF_ERROR(strip.next.allocate_zeros(strip.table.size()));
    for (int64_t i = strip.begin * (d_ + 1); i < strip.end * (d_ + 1); ++i) ++strip.next[lattice_.corners[i]];
    return Status();
  }

  // Merges the strips' tables into one.
  Status number_vertices() {
    constexpr uint32_t kAhead = 16;
    table_ = std::move(strips_[0].table);
    for (Strip& strip : strips_) {
      DEEPLAB_RETURN_IF_ERROR(strip.number.allocate(strip.next.size()));
      if (&strip == &strips_[0]) {
        std::iota(strip.number.data(), strip.number.data() + strip.number.size(), 0);
        continue;
      }
      DEEPLAB_RETURN_IF_ERROR(table_.reserve(strip.table.size()));
      for (uint32_t i = 0; i < strip.number.size(); ++i) {
        DEEPLAB_RETURN_IF_ERROR(go_on(i));
        if (i + kAhead < strip.number.size()) table_.prefetch(strip.table.code(i + kAhead));
        strip.number[i] = table_.insert(strip.table.code(i));
      }
      strip.table = Table();
    }
    if (table_.size() >= Lattice::kChainEnd) {
      return error(Code::kOutOfMemory, "a CRF's lattice would have more than 2^31 vertices");
    }
    lattice_.vertices = table_.size();
    return Status();
  }

  // Gives each vertex its place among the splats, and each strip its own in it.
  Status place_splats() {
    DEEPLAB_RETURN_IF_ERROR(lattice_.splat_begin.allocate_zeros(size_t{lattice_.vertices} + 1));
    uint32_t* begin = lattice_.splat_begin.data();
    for (const Strip& strip : strips_) {
      for (uint32_t i = 0; i < strip.number.size(); ++i) begin[strip.number[i] + 1] += strip.next[i];
    }
    for (uint32_t vertex = 0; vertex < lattice_.vertices; ++vertex) begin[vertex + 1] += begin[vertex];
    // For each strip in turn, `begin` is moved to where the next strip's splats begin, and back in the end.
    for (Strip& strip : strips_) {
      for (uint32_t i = 0; i < strip.number.size(); ++i) {
        const uint32_t splats = strip.next[i];
        strip.next[i] = begin[strip.number[i]];
        begin[strip.number[i]] += splats;
      }
    }
    for (uint32_t vertex = lattice_.vertices; vertex > 0; --vertex) begin[vertex] = begin[vertex - 1];
    begin[0] = 0;
    return Status();
  }

  Status fill_splats(Strip& strip) {
    for (int64_t point = strip.begin; point < strip.end; ++point) {
      DEEPLAB_RETURN_IF_ERROR(go_on(point - strip.begin));
      for (int64_t i = point * (d_ + 1); i < (point + 1) * (d_ + 1); ++i) {
        const uint32_t vertex = lattice_.corners[i];
        lattice_.splats[strip.next[vertex]++] = {static_cast<uint32_t>(point), lattice_.weights[i]};
        lattice_.corners[i] = strip.number[vertex];
      }
    }
    strip.number.free();
    strip.next.free();
    return Status();
  }

  Status sort() {
    Array<Vertex> scratch;
    DEEPLAB_RETURN_IF_ERROR(sorted_.allocate(lattice_.vertices));
    DEEPLAB_RETURN_IF_ERROR(scratch.allocate(lattice_.vertices));
    for (uint32_t number = 0; number < lattice_.vertices; ++number) sorted_[number] = {table_.code(number), number};
    table_ = Table();
    sort_vertices(layout_, &sorted_, &scratch);
    return Status();
  }

  // The neighbours along an axis differ by one in every coordinate but one, which differs by d (page 7). In the order
  // of codes, a vertex' neighbour comes after that of the vertex before.
  Status find_chains(int axis) {
    constexpr uint32_t kNone = UINT32_MAX;
    const Key step = steps_[axis] - ones_;
    Array<uint32_t> next;
    Array<uint8_t> has_previous;
    DEEPLAB_RETURN_IF_ERROR(next.allocate(lattice_.vertices));
    DEEPLAB_RETURN_IF_ERROR(has_previous.allocate_zeros(lattice_.vertices));
    // Both places move without branches, which could not be predicted.
    std::fill_n(next.data(), next.size(), kNone);
    for (size_t i = 0, candidate = 0; i < sorted_.size() && candidate < sorted_.size();) {
      if (candidate % kUnwatched == 0) DEEPLAB_RETURN_IF_ERROR(go_on());
      const Vertex& vertex = sorted_[i];
      const Vertex& other = sorted_[candidate];
      const Key wanted = vertex.code + step;
      const bool exists = other.code == wanted, past = wanted < other.code;
      next[vertex.number] = exists ? other.number : kNone;
      has_previous[other.number] |= exists;
      i += exists || past;
      candidate += !past;
    }
    size_t members = 0;
    for (uint32_t vertex = 0; vertex < lattice_.vertices; ++vertex) {
      members += (next[vertex] != kNone) | has_previous[vertex];
    }
    Array<uint32_t>& chains = lattice_.chains[axis];
    DEEPLAB_RETURN_IF_ERROR(chains.allocate(members));
    size_t member = 0;
    for (uint32_t head = 0; head < lattice_.vertices; ++head) {
      if (has_previous[head] != 0 || next[head] == kNone) continue;
      for (uint32_t vertex = head; vertex != kNone; vertex = next[vertex]) {
        chains[member++] = vertex | (next[vertex] == kNone ? Lattice::kChainEnd : 0);
      }
    }
    return Status();
  }

  // Multiplies the weights by what makes the filter of ones one (Krähenbühl and Koltun, section 5; symmetric: as much
  // of it before as after).
  Status normalize() {
    const CrfNormalization kind = points_.term.normalization;
    Array<float> factor, values;
    DEEPLAB_RETURN_IF_ERROR(factor.allocate(lattice_.points));
    DEEPLAB_RETURN_IF_ERROR(values.allocate(lattice_.vertices));
    // A point always gives to itself; this is for what rounding makes of features that are far from zero.
    constexpr float kLeastSum = 1e-20f;
    const int64_t parts = std::max(team_.parts(), lattice_.points / kPointsOfPart);
    const auto share = [&](const auto& body) {
      team_.share(parts, [&](int64_t part) {
        if (!cancelled_.load(std::memory_order_relaxed)) body(part);
      });
    };
    const auto begin_of = [&](int64_t part) { return part_begin(lattice_.points, part, parts); };
    team_.run([&](int) {
      share([&](int64_t part) { std::fill(factor.data() + begin_of(part), factor.data() + begin_of(part + 1), 1.0f); });
      share([&](int64_t part) { splat_part(lattice_, part, parts, factor.data(), 1, values.data()); });
      for (int axis = 0; axis <= d_; ++axis) {
        share([&](int64_t part) { blur_part(lattice_, axis, part, parts, values.data(), 1); });
      }
      share([&](int64_t part) {
        const int64_t begin = begin_of(part), end = begin_of(part + 1);
        lattice_slice(lattice_, values.data(), 1, begin, end, factor.data());
        for (int64_t i = begin; i < end; ++i) {
          const float sum = std::max(factor[i], kLeastSum);
          factor[i] = 1.0f / (kind == CrfNormalization::kSymmetric ? std::sqrt(sum) : sum);
        }
        if (kind == CrfNormalization::kBefore) return;
        for (int64_t point = begin; point < end; ++point) {
          for (int i = 0; i <= d_; ++i) lattice_.weights[point * (d_ + 1) + i] *= factor[point];
        }
      });
      if (kind == CrfNormalization::kAfter) return;
      share([&](int64_t part) {
        const int64_t end = part_begin(lattice_.splats.size(), part + 1, parts);
        for (int64_t i = part_begin(lattice_.splats.size(), part, parts); i < end; ++i) {
          lattice_.splats[i].weight *= factor[lattice_.splats[i].point];
        }
      });
    });
    return go_on();
  }

  const LatticePoints& points_;
  const CodeLayout& layout_;
  const std::atomic<bool>& cancelled_;
  const int d_;
  Lattice& lattice_;
  Team team_;
  float scales_[kMaxCrfDimensions];
  Key ones_;
  Key steps_[kMaxCrfDimensions + 1];
  std::vector<Strip> strips_;
  Table table_;           // of all strips
  Array<Vertex> sorted_;  // its vertices
};

}  // namespace

size_t Lattice::bytes() const {
  size_t sum = splat_begin.bytes() + splats.bytes() + corners.bytes() + weights.bytes();
  for (const auto& chain : chains) sum += chain.bytes();
  return sum;
}

size_t Lattice::chain_boundary(int axis, size_t index) const {
  const Array<uint32_t>& chain = chains[axis];
  while (index > 0 && index < chain.size() && (chain[index - 1] & kChainEnd) == 0) ++index;
  return index;
}

Result<std::shared_ptr<const Lattice>> build_lattice(const LatticePoints& points, int threads,
                                                     const std::atomic<bool>& cancelled) {
  const int d = points.term.dimensions;
  const size_t corner_bytes = sizeof(uint32_t) + sizeof(float) + sizeof(Lattice::Splat);
  DEEPLAB_RETURN_IF_ERROR(check_memory(points.count() * (d + 1) * corner_bytes, "a CRF's lattice"));
  const auto made = lattice_layout(points);
  if (!made.ok()) return made.status();
  const CodeLayout& layout = *made;
  auto lattice = std::make_shared<Lattice>();
  Status status;
  if (layout.words <= 1) {
    status = Builder<1>(points, layout, threads, cancelled, lattice.get()).build();
  } else if (layout.words <= 2) {
    status = Builder<2>(points, layout, threads, cancelled, lattice.get()).build();
  } else if (layout.words <= 4) {
    status = Builder<4>(points, layout, threads, cancelled, lattice.get()).build();
  } else {
    status = Builder<kMaxCodeWords>(points, layout, threads, cancelled, lattice.get()).build();
  }
  if (!status.ok()) return status;
  return std::shared_ptr<const Lattice>(std::move(lattice));
}

}  // namespace deeplab

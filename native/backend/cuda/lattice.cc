#include "backend/cuda/lattice.h"

#include <algorithm>
#include <cmath>

#include "backend/cuda/device_algorithms.h"

namespace deeplab::cuda {
namespace {

constexpr const char* kPurpose = "a CRF's lattice";

// body(std::integral_constant) of 1, 2, 4 or 8 words.
template <typename Body>
Status with_words(int words, const Body& body) {
  if (words <= 1) return body(std::integral_constant<int, 1>());
  if (words <= 2) return body(std::integral_constant<int, 2>());
  if (words <= 4) return body(std::integral_constant<int, 4>());
  return body(std::integral_constant<int, kMaxCodeWords>());
}

// Vertices that points probably touch: all of the lattice around the range of their features, if that is few, or two
// for each point, which a photo seldom has.
Result<int64_t> likely_vertices(const LatticePoints& points) {
  const int d = points.term.dimensions;
  float low[kMaxCrfDimensions], high[kMaxCrfDimensions];
  DEEPLAB_RETURN_IF_ERROR(feature_ranges(points, low, high));
  // The lattice has (d + 1)^(1/2 - d) vertices in a unit of volume, and features are scaled by (d + 1) sqrt(2/3).
  double all = std::sqrt(d + 1.0) * std::pow(2.0 / 3.0, d / 2.0);
  constexpr double kMargin = 3;
  for (int j = 0; j < d; ++j) all *= static_cast<double>(high[j]) - low[j] + kMargin;
  constexpr int64_t kOfPoint = 2, kLeast = 64;
  const int64_t most = std::min(points.count() * (d + 1), points.count() * kOfPoint + kLeast);
  return all < static_cast<double>(most) ? std::max<int64_t>(static_cast<int64_t>(all), 1) : most;
}

template <int kWords>
SortedCodes<kWords> sorted_codes(int64_t total, const LatticeScratch& scratch, const uint32_t* sorted) {
  return {total, scratch.keys.as<uint64_t>(), sorted};
}
template <>
SortedCodes<1> sorted_codes<1>(int64_t, const LatticeScratch& scratch, const uint32_t*) {
  return {scratch.sorted_keys.as<uint64_t>()};
}

}  // namespace

Result<Lattice> Lattice::create(const LatticePoints& points, int64_t capacity) {
  const CrfTerm& term = points.term;
  const auto layout = lattice_layout(points);
  if (!layout.ok()) return layout.status();
  Lattice lattice;
  lattice.layout_ = *layout;
  lattice.normalization_ = term.normalization;
  PointFeatures& features = lattice.points_;
  features.kernel = term.kernel;
  features.dimensions = term.dimensions;
  features.x_feature = points.coordinates == CrfCoordinates::kXY ? 0 : 1;
  features.width = static_cast<uint32_t>(points.width);
  features.points = points.count();
  features.deviations = term.deviations;
  features.channels = points.channels;
  if (capacity == 0) {
    const auto likely = likely_vertices(points);
    if (!likely.ok()) return likely.status();
    capacity = *likely;
  }
  const int64_t splats = lattice.splats();
  DEEPLAB_RETURN_IF_ERROR(lattice.splats_.allocate(splats * sizeof(Splat), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.chunks_.allocate((splats + 1) * sizeof(Chunk), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.corners_.allocate(splats * sizeof(uint32_t), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.weights_.allocate(splats * sizeof(float), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.extra_vertices_.allocate(extra_rows(splats) * sizeof(uint32_t), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.counts_.allocate(sizeof(LatticeCounts), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(lattice.grow(capacity));
  return Result<Lattice>(std::move(lattice));
}

Status Lattice::grow(int64_t capacity) {
  capacity_ = capacity;
  return neighbors_.allocate(capacity * (points_.dimensions + 1) * sizeof(Neighbors), kPurpose);
}

Status Lattice::reserve(LatticeScratch* scratch) const {
  const int64_t splats = this->splats();
  DEEPLAB_RETURN_IF_ERROR(with_words(layout_.words, [&](auto words) -> Status {
    const size_t code = sizeof(VertexCode<words>);
    DEEPLAB_RETURN_IF_ERROR(scratch->keys.reserve(splats * code, kPurpose));
    if (words > 1) DEEPLAB_RETURN_IF_ERROR(scratch->gathered.reserve(splats * sizeof(uint64_t), kPurpose));
    return scratch->vertex_codes.reserve(splats * code, kPurpose);
  }));
  DEEPLAB_RETURN_IF_ERROR(scratch->sorted_keys.reserve(splats * sizeof(uint64_t), kPurpose));
  for (DeviceBuffer* buffer :
       {&scratch->splats, &scratch->sorted_splats, &scratch->numbers, &scratch->chunk_numbers, &scratch->splat_begin}) {
    DEEPLAB_RETURN_IF_ERROR(buffer->reserve(splats * sizeof(uint32_t), kPurpose));
  }
  const auto algorithms = algorithm_scratch_bytes(splats);
  if (!algorithms.ok()) return algorithms.status();
  DEEPLAB_RETURN_IF_ERROR(scratch->algorithms.reserve(*algorithms, kPurpose));
  if (normalization_ == CrfNormalization::kNone) return Status();
  DEEPLAB_RETURN_IF_ERROR(scratch->factors.reserve(points_.points * sizeof(float), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(scratch->values.reserve(capacity_ * sizeof(float), kPurpose));
  DEEPLAB_RETURN_IF_ERROR(scratch->blurred.reserve(capacity_ * sizeof(float), kPurpose));
  return scratch->extras.reserve(extra_rows(splats) * sizeof(float), kPurpose);
}

Status Lattice::build(Stream stream, const uint8_t* pixels, const float* features,
                      const LatticeScratch& scratch) const {
  PointFeatures points = points_;
  points.pixels = pixels;
  points.features = features;
  return with_words(layout_.words, [&](auto words) { return build_words<words>(stream, points, scratch); });
}

template <int kWords>
Status Lattice::locate(Stream stream, const PointFeatures& points, const LatticeScratch& scratch) const {
  const auto launch_for = [&](auto dimensions) {
    using Kernel = LocatePoints<kWords, dimensions>;
    Kernel kernel{points,
                  CodeSteps<kWords, Kernel::kMax>(layout_),
                  {},
                  weights_.as<float>(),
                  scratch.keys.as<uint64_t>(),
                  scratch.splats.as<uint32_t>()};
    lattice_scales(points.dimensions, kernel.scales.data());
    return launch(stream, points.points, kernel);
  };
  if constexpr (kWords == 1) {
    if (points.dimensions == 2) return launch_for(std::integral_constant<int, 2>());
  }
  if constexpr (kWords <= 2) {
    if (points.dimensions == 5) return launch_for(std::integral_constant<int, 5>());
  }
  return launch_for(std::integral_constant<int, 0>());
}

template <int kWords>
Status Lattice::build_words(Stream stream, const PointFeatures& points, const LatticeScratch& scratch) const {
  const int64_t total = splats();
  const auto* keys = scratch.keys.as<uint64_t>();
  auto *splats = scratch.splats.as<uint32_t>(), *sorted = scratch.sorted_splats.as<uint32_t>();
  auto *numbers = scratch.numbers.as<uint32_t>(), *chunk_numbers = scratch.chunk_numbers.as<uint32_t>();
  auto* splat_begin = scratch.splat_begin.as<uint32_t>();
  auto* vertex_codes = scratch.vertex_codes.as<VertexCode<kWords>>();
  auto* counts = counts_.as<LatticeCounts>();
  const auto sum = [&](uint32_t* values) {
    return inclusive_sum(stream, scratch.algorithms.data(), scratch.algorithms.size(), values, values, total);
  };

  DEEPLAB_RETURN_IF_ERROR(locate<kWords>(stream, points, scratch));
  // Stable, from the lowest word to the highest: splats of a vertex stay in the order of their points.
  for (int word = 0; word < layout_.words; ++word) {
    const uint64_t* unsorted = keys;
    if (word > 0) {
      std::swap(splats, sorted);
      unsorted = scratch.gathered.as<uint64_t>();
      DEEPLAB_RETURN_IF_ERROR(
          launch(stream, total, GatherWord{keys + word * total, splats, scratch.gathered.as<uint64_t>()}));
    }
    DEEPLAB_RETURN_IF_ERROR(sort_pairs(stream, scratch.algorithms.data(), scratch.algorithms.size(), unsorted,
                                       scratch.sorted_keys.as<uint64_t>(), splats, sorted, total, layout_.bits[word]));
  }
  const auto codes = sorted_codes<kWords>(total, scratch, sorted);
  DEEPLAB_RETURN_IF_ERROR(launch(stream, total, MarkRuns<kWords>{codes, numbers}));
  DEEPLAB_RETURN_IF_ERROR(sum(numbers));
  DEEPLAB_RETURN_IF_ERROR(launch(
      stream, total, NumberVertices<kWords>{codes, numbers, total, capacity_, vertex_codes, splat_begin, counts}));
  DEEPLAB_RETURN_IF_ERROR(launch(stream, total, MarkChunks{numbers, splat_begin, chunk_numbers}));
  DEEPLAB_RETURN_IF_ERROR(sum(chunk_numbers));
  DEEPLAB_RETURN_IF_ERROR(
      launch(stream, total,
             PlaceSplats{numbers, chunk_numbers, sorted, weights_.as<float>(), total, capacity_,
                         static_cast<uint32_t>(points_.dimensions + 1), splats_.as<Splat>(), chunks_.as<Chunk>(),
                         extra_vertices_.as<uint32_t>(), corners_.as<uint32_t>(), counts}));
  DEEPLAB_RETURN_IF_ERROR(fill(stream, neighbors_.data(), 0xff, neighbors_.size()));  // kNoVertex
  for (int axis = 0; axis <= points_.dimensions; ++axis) {
    const VertexCode<kWords> step = layout_.step<kWords>(axis) - layout_.ones<kWords>();
    DEEPLAB_RETURN_IF_ERROR(launch_counted(
        stream, &counts->vertices, 1,
        FindNeighbors<kWords>{vertex_codes, &counts->vertices, step, neighbors_.as<Neighbors>() + axis * capacity_}));
  }
  return normalization_ == CrfNormalization::kNone ? Status() : normalize(stream, scratch);
}

Status Lattice::normalize(Stream stream, const LatticeScratch& scratch) const {
  auto* factors = scratch.factors.as<float>();
  auto* values = scratch.values.as<float>();
  DEEPLAB_RETURN_IF_ERROR(launch(stream, points_.points, FillOnes{factors}));
  DEEPLAB_RETURN_IF_ERROR(
      lattice_filter(stream, view(), 1, factors, values, scratch.blurred.as<float>(), scratch.extras.as<float>()));
  DEEPLAB_RETURN_IF_ERROR(launch(
      stream, points_.points, NormalizeCorners{view(), values, gain(), normalization_, weights_.as<float>(), factors}));
  if (normalization_ == CrfNormalization::kAfter) return Status();
  return launch(stream, splats(), NormalizeSplats{factors, splats_.as<Splat>()});
}

LatticeView Lattice::view() const {
  return {points_.dimensions + 1,     capacity_,
          &counts()->vertices,        &counts()->chunks,
          &counts()->extras,          splats_.as<Splat>(),
          chunks_.as<Chunk>(),        extra_vertices_.as<uint32_t>(),
          neighbors_.as<Neighbors>(), corners_.as<uint32_t>(),
          weights_.as<float>()};
}

size_t Lattice::bytes() const {
  return splats_.size() + chunks_.size() + extra_vertices_.size() + neighbors_.size() + corners_.size() +
         weights_.size() + counts_.size();
}

Result<Lattices> Lattices::create(Stream stream, const Shape& image, const CrfModel& model, int64_t capacity) {
  Lattices lattices;
  std::vector<DeviceBuffer> features;
  for (const CrfTerm& term : model.terms) {
    auto lattice = Lattice::create({term, model.coordinates, image.w, image.h, nullptr, image.c}, capacity);
    if (!lattice.ok()) return lattice.status();
    DEEPLAB_RETURN_IF_ERROR(fill(stream, lattice->counts(), 0, sizeof(LatticeCounts)));
    lattices.lattices_.push_back(std::move(*lattice));
    const size_t bytes = term.features.size() * sizeof(float);
    features.emplace_back();
    DEEPLAB_RETURN_IF_ERROR(features.back().allocate(bytes, kPurpose));
    DEEPLAB_RETURN_IF_ERROR(copy_to_device(stream, features.back().data(), term.features.data(), bytes));
  }
  for (bool settled = false; !settled;) {
    LatticeScratch scratch;
    for (size_t i = 0; i < lattices.lattices_.size(); ++i) {
      const Lattice& lattice = lattices.lattices_[i];
      if (lattice.reads_pixels()) continue;
      DEEPLAB_RETURN_IF_ERROR(lattice.reserve(&scratch));
      DEEPLAB_RETURN_IF_ERROR(lattice.build(stream, nullptr, features[i].as<float>(), scratch));
    }
    const auto had_room = lattices.settle(stream);
    if (!had_room.ok()) return had_room.status();
    settled = *had_room;
  }
  return Result<Lattices>(std::move(lattices));
}

Status Lattices::build(Stream stream, const uint8_t* pixels) const {
  for (const Lattice& lattice : lattices_) {
    if (lattice.reads_pixels()) DEEPLAB_RETURN_IF_ERROR(lattice.build(stream, pixels, nullptr, scratch_));
  }
  return Status();
}

Result<bool> Lattices::settle(Stream stream) {
  std::vector<LatticeCounts> counts(lattices_.size());
  for (size_t i = 0; i < lattices_.size(); ++i) {
    DEEPLAB_RETURN_IF_ERROR(copy_to_host(stream, &counts[i], lattices_[i].counts(), sizeof(LatticeCounts)));
    DEEPLAB_RETURN_IF_ERROR(fill(stream, &lattices_[i].counts()->most, 0, sizeof(uint32_t)));
  }
  DEEPLAB_RETURN_IF_ERROR(synchronize(stream));
  bool had_room = true;
  vertices_.assign(lattices_.size(), 0);
  for (size_t i = 0; i < lattices_.size(); ++i) {
    Lattice& lattice = lattices_[i];
    vertices_[i] = counts[i].wanted;
    if (const int64_t most = counts[i].most; most > lattice.capacity()) {
      had_room = false;
      DEEPLAB_RETURN_IF_ERROR(lattice.grow(std::min(most + most / 4, lattice.splats())));
    }
    if (lattice.reads_pixels()) DEEPLAB_RETURN_IF_ERROR(lattice.reserve(&scratch_));
  }
  return had_room;
}

size_t Lattices::bytes() const {
  size_t sum = 0;
  for (const Lattice& lattice : lattices_) sum += lattice.bytes();
  return sum;
}

}  // namespace deeplab::cuda

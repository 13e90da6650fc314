#include "backend/cpu/lattice_cache.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <tuple>

namespace deeplab {
namespace {

using Key = std::tuple<int64_t, int64_t, float, float, CrfCoordinates, CrfNormalization>;

struct Cache {
  std::mutex mutex;
  std::list<std::pair<Key, std::shared_ptr<const Lattice>>> lattices;  // most recently used first
};

Cache& cache() {
  static Cache* const instance = new Cache();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

Result<std::shared_ptr<const Lattice>> gaussian_lattice(const LatticePoints& points, int threads,
                                                        const std::atomic<bool>& cancelled) {
  const CrfTerm& term = points.term;
  const Key key(points.width, points.height, term.deviations[0], term.deviations[1], points.coordinates,
                term.normalization);
  auto& [mutex, lattices] = cache();
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found =
        std::find_if(lattices.begin(), lattices.end(), [&](const auto& entry) { return entry.first == key; });
    if (found != lattices.end()) {
      lattices.splice(lattices.begin(), lattices, found);
      return lattices.front().second;
    }
  }
  auto built = build_lattice(points, threads, cancelled);
  if (!built.ok()) return built;
  const std::lock_guard<std::mutex> lock(mutex);
  lattices.emplace_front(key, *built);
  size_t bytes = 0;
  const auto full = std::find_if(lattices.begin(), lattices.end(), [&](const auto& entry) {
    bytes += entry.second->bytes();
    return bytes > kCachedLatticeBytes;
  });
  lattices.erase(full, lattices.end());
  return built;
}

}  // namespace deeplab

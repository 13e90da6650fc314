#include "backend/cuda/plan_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>

namespace deeplab::cuda {
namespace {

namespace fs = std::filesystem;

// The first line of a file, and of every version of the format another one.
constexpr const char* kFormat = "deeplab plan 1";
constexpr size_t kLargestFile = 64 << 20;

// FNV-1a, 64 bits: to name files, and to see damage.
uint64_t hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string hexadecimal(uint64_t value) {
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << value;
  return text.str();
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string PlanCache::default_folder() {
  if (const std::string folder = environment("DEEPLAB_CACHE"); !folder.empty()) return folder + "/plans";
  if (const std::string folder = environment("XDG_CACHE_HOME"); !folder.empty()) return folder + "/deeplab/plans";
  if (const std::string home = environment("HOME"); !home.empty()) return home + "/.cache/deeplab/plans";
  return "";
}

std::string PlanCache::path_of(const std::string& key) const {
  return folder_ + "/" + hexadecimal(hash(device_ + "\n" + key)) + ".plan";
}

// Line by line: the format, the device, the key, engine and milliseconds, the plan's hash, the plan.
std::optional<CachedPlan> PlanCache::find(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  std::error_code failure;
  const std::string path = path_of(key);
  const auto size = fs::file_size(path, failure);
  if (failure || size > kLargestFile) return std::nullopt;
  std::ifstream file(path);
  std::string format, device, name, numbers, check;
  if (!std::getline(file, format) || !std::getline(file, device) || !std::getline(file, name) ||
      !std::getline(file, numbers) || !std::getline(file, check)) {
    return std::nullopt;
  }
  CachedPlan plan;
  plan.json.assign(std::istreambuf_iterator<char>(file), {});
  std::istringstream stream(numbers);
  if (format != kFormat || device != device_ || name != key || !(stream >> plan.engine >> plan.milliseconds) ||
      check != hexadecimal(hash(numbers + plan.json))) {
    return std::nullopt;
  }
  return plan;
}

bool PlanCache::store(const std::string& key, const CachedPlan& plan) const {
  static std::atomic<int> counter{0};
  if (folder_.empty()) return false;
  std::error_code failure;
  fs::create_directories(folder_, failure);
  std::ostringstream numbers;
  numbers << plan.engine << ' ' << plan.milliseconds;
  // Under a name that no other process or thread has, then renamed: nobody reads half a file.
  const std::string path = path_of(key);
  const std::string temporary = path + "." + std::to_string(getpid()) + "." + std::to_string(++counter);
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << kFormat << '\n'
         << device_ << '\n'
         << key << '\n'
         << numbers.str() << '\n'
         << hexadecimal(hash(numbers.str() + plan.json)) << '\n'
         << plan.json;
    file.flush();
    if (!file) {
      file.close();
      fs::remove(temporary, failure);
      return false;
    }
  }
  fs::rename(temporary, path, failure);
  if (!failure) return true;
  fs::remove(temporary, failure);
  return false;
}

}  // namespace deeplab::cuda

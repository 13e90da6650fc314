#include "backend/cpu/packed_weights.h"

#include <algorithm>
#include <cstring>

namespace deeplab {

using dnnl::memory;

namespace {

struct Files {
  std::mutex mutex;
  std::map<const Safetensors*, std::weak_ptr<PackedWeights>> weights;
};

Files& files() {
  static Files* const instance = new Files();  // never destroyed: threads may outlive static destructors
  return *instance;
}

}  // namespace

std::shared_ptr<PackedWeights> PackedWeights::of(std::shared_ptr<const Safetensors> file) {
  auto& [mutex, known] = files();
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto found = known.find(file.get()); found != known.end()) {
    if (auto held = found->second.lock(); held != nullptr) return held;
  }
  for (auto entry = known.begin(); entry != known.end();) {
    entry = entry->second.expired() ? known.erase(entry) : std::next(entry);
  }
  const Safetensors* const address = file.get();
  std::shared_ptr<PackedWeights> made(new PackedWeights(std::move(file)));
  known[address] = made;
  return made;
}

Result<std::shared_ptr<const PackedConv>> PackedWeights::get(const std::string& key, const memory::desc& layout,
                                                             const std::function<Result<ConvWeights>()>& read) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& known = layouts_[key];
  known.erase(std::remove_if(known.begin(), known.end(), [](const auto& packed) { return packed.expired(); }),
              known.end());
  for (const auto& packed : known) {
    if (auto held = packed.lock(); held != nullptr && held->kernel.get_desc() == layout) return held;
  }

  auto weights = read();
  if (!weights.ok()) return weights.status();
  const dnnl::engine& engine = onednn::engine();
  constexpr memory::format_tag kRowMajor[] = {memory::format_tag::abc, memory::format_tag::abcd,
                                              memory::format_tag::abcde};
  const memory::format_tag tag = kRowMajor[weights->dims.size() - 3];
  memory plain({weights->dims, memory::data_type::f32, tag}, engine, weights->kernel.data());
  const memory::dims bias_dims{static_cast<int64_t>(weights->bias.size())};

  auto packed = std::make_shared<PackedConv>();
  DEEPLAB_RETURN_IF_ERROR(packed->kernel_bytes.allocate(layout.get_size()));
  packed->kernel = memory(layout, engine, packed->kernel_bytes.data());
  packed->bias = memory({bias_dims, memory::data_type::f32, memory::format_tag::a}, engine);
  std::memcpy(packed->bias.get_data_handle(), weights->bias.data(), weights->bias.size() * sizeof(float));
  if (layout == plain.get_desc()) {
    std::memcpy(packed->kernel_bytes.data(), weights->kernel.data(), layout.get_size());
  } else {
    dnnl::stream stream(engine);
    dnnl::reorder(plain, packed->kernel).execute(stream, plain, packed->kernel);
    stream.wait();
  }
  known.push_back(packed);
  return std::shared_ptr<const PackedConv>(std::move(packed));
}

void WeightsInUse::add(const std::shared_ptr<const PackedConv>& weights) {
  if (weights != nullptr && users_[weights.get()]++ == 0) bytes_ += weights->bytes();
}

void WeightsInUse::remove(const std::shared_ptr<const PackedConv>& weights) {
  const auto found = users_.find(weights.get());
  if (found == users_.end() || --found->second > 0) return;
  bytes_ -= weights->bytes();
  users_.erase(found);
}

}  // namespace deeplab

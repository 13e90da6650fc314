#include "backend/cpu/packed_weights.h"

#include <algorithm>
#include <cstring>

namespace deeplab {

using dnnl::memory;

Result<std::shared_ptr<const PackedConv>> PackedWeights::get(const std::string& name, const memory::desc& layout,
                                                             const std::function<Result<ConvWeights>()>& read) {
  auto& known = layouts_[name];
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

}  // namespace deeplab

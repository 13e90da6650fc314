#include "core/safetensors.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

namespace deeplab {
namespace {

using nlohmann::json;

struct Entry {
  std::string name;
  uint64_t begin;
  uint64_t end;
};

// Parses JSON, refusing duplicate keys (which would let two readers see two different files) and deep nesting.
Result<json> parse_json(const char* begin, const char* end) {
  constexpr int kMaxDepth = 3;  // header, tensor, its shape
  std::vector<std::set<std::string>> keys(kMaxDepth + 2);
  std::string duplicate;
  bool too_deep = false;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxDepth) {
      too_deep = true;
      return false;
    }
    if (event == json::parse_event_t::object_start) keys[depth + 1].clear();
    if (event == json::parse_event_t::key && !keys[depth].insert(value.get_ref<const std::string&>()).second) {
      duplicate = value.get_ref<const std::string&>();
    }
    return true;
  };
  json header = json::parse(begin, end, watch, /*allow_exceptions=*/false);
  if (!duplicate.empty()) return error(Code::kInvalidWeights, "the name '", duplicate, "' stands twice in the header");
  if (header.is_discarded() || too_deep || !header.is_object()) {
    return error(Code::kInvalidWeights, "the header is not a JSON object of tensors");
  }
  return header;
}

// The list of unsigned integers under `key`, or an error.
Result<std::vector<uint64_t>> read_integers(const json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) return error(Code::kInvalidWeights, "has no list '", key, "'");
  std::vector<uint64_t> values;
  for (const json& value : *found) {
    if (!value.is_number_unsigned()) {
      return error(Code::kInvalidWeights, "'", key, "' holds ",
                   value.dump(-1, ' ', false, json::error_handler_t::replace), ", not a size");
    }
    values.push_back(value.get<uint64_t>());
  }
  return values;
}

Result<TensorView> read_entry(const json& entry, const std::byte* data, uint64_t size, Entry* range) {
  if (!entry.is_object()) return error(Code::kInvalidWeights, "is not an object");
  const auto type = entry.find("dtype");
  if (type == entry.end() || !type->is_string()) return error(Code::kInvalidWeights, "has no dtype");
  const auto dtype = dtype_from_name(type->get_ref<const std::string&>());
  if (!dtype) return error(Code::kInvalidWeights, "has the unknown dtype '", type->get_ref<const std::string&>(), "'");
  auto shape = read_integers(entry, "shape");
  if (!shape.ok()) return shape.status();
  auto offsets = read_integers(entry, "data_offsets");
  if (!offsets.ok()) return offsets.status();
  if (offsets->size() != 2 || (*offsets)[0] > (*offsets)[1]) {
    return error(Code::kInvalidWeights, "has data_offsets that are not [begin, end]");
  }
  range->begin = (*offsets)[0];
  range->end = (*offsets)[1];
  if (range->end > size) {
    return error(Code::kInvalidWeights, "ends at byte ", range->end, " of ", size, ": the file is truncated");
  }
  TensorView view;
  view.dtype = *dtype;
  view.data = data + range->begin;
  uint64_t elements = 1;
  for (const uint64_t dim : *shape) {
    if (__builtin_mul_overflow(elements, dim, &elements) || elements > size) {
      return error(Code::kInvalidWeights, "has a shape larger than the file");
    }
    view.dims.push_back(static_cast<int64_t>(dim));
  }
  view.elements = static_cast<int64_t>(elements);
  if (elements * element_size(*dtype) != range->end - range->begin) {
    return error(Code::kInvalidWeights, "of ", dtype_name(*dtype), to_string(view.dims), " takes ",
                 elements * element_size(*dtype), " bytes, its data_offsets span ", range->end - range->begin);
  }
  return view;
}

// The files that somebody has open. A map of each keeps its inode from being given to another file.
class OpenFiles {
 public:
  using File = std::shared_ptr<const Safetensors>;

  // Null where nobody has it open.
  File find(const FileIdentity& identity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = files_.find(identity);
    return found == files_.end() ? nullptr : found->second.lock();
  }

  // `file`, or what another thread has opened meanwhile.
  File add(const FileIdentity& identity, File file) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = files_.begin(); entry != files_.end();) {
      entry = entry->second.expired() ? files_.erase(entry) : std::next(entry);
    }
    const auto [place, added] = files_.emplace(identity, file);
    if (added) return file;
    File known = place->second.lock();
    if (known == nullptr) place->second = file;  // let go this very moment
    return known == nullptr ? file : known;
  }

 private:
  std::mutex mutex_;
  std::map<FileIdentity, std::weak_ptr<const Safetensors>> files_;
};

OpenFiles& open_files() {
  static OpenFiles* const instance = new OpenFiles();  // never destroyed: threads may outlive static destructors
  return *instance;
}

template <typename Stored, typename Convert>
void convert_elements(const TensorView& view, float* out, Convert convert) {
  for (int64_t i = 0; i < view.elements; ++i) {
    Stored stored;
    std::memcpy(&stored, view.data + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(stored);
  }
}

}  // namespace

Result<std::shared_ptr<const Safetensors>> Safetensors::open(const std::string& path) {
  auto map = MemoryMap::open(path);
  if (!map.ok()) return map.status();
  const FileIdentity identity = map->identity();
  if (auto known = open_files().find(identity); known != nullptr) return known;
  std::shared_ptr<Safetensors> file(new Safetensors());
  file->name_ = path;
  file->map_ = std::make_unique<MemoryMap>(std::move(*map));
  DEEPLAB_RETURN_IF_ERROR(file->read_header(file->map_->data(), file->map_->size()));
  return open_files().add(identity, std::move(file));
}

Result<std::shared_ptr<const Safetensors>> Safetensors::parse(const std::byte* data, size_t size, std::string name) {
  std::shared_ptr<Safetensors> file(new Safetensors());
  file->name_ = std::move(name);
  DEEPLAB_RETURN_IF_ERROR(file->read_header(data, size));
  return std::shared_ptr<const Safetensors>(std::move(file));
}

Status Safetensors::read_header(const std::byte* data, size_t size) {
  const auto invalid = [&](const auto&... parts) { return error(Code::kInvalidWeights, name_, ": ", parts...); };
  if (size < 8) return invalid("not a safetensors file: ", size, " bytes are too short for a header");
  uint64_t header_size = 0;
  for (int i = 0; i < 8; ++i) header_size |= static_cast<uint64_t>(data[i]) << (8 * i);
  if (header_size > kMaxHeaderBytes) {
    return invalid("not a safetensors file: a header of ", header_size, " bytes is over the limit of ",
                   kMaxHeaderBytes);
  }
  if (header_size > size - 8)
    return invalid("truncated: the header takes ", header_size, " bytes, the file has ", size);
  const char* text = reinterpret_cast<const char*>(data + 8);
  auto header = parse_json(text, text + header_size);
  if (!header.ok()) return invalid(header.status().message());

  const std::byte* tensor_data = data + 8 + header_size;
  const uint64_t tensor_bytes = size - 8 - header_size;
  std::vector<Entry> entries;
  for (const auto& [key, value] : header->items()) {
    if (key == "__metadata__") {
      if (!value.is_object()) return invalid("__metadata__ is not an object");
      for (const auto& [name, text_value] : value.items()) {
        if (!text_value.is_string()) return invalid("__metadata__ '", name, "' is not a string");
        metadata_[name] = text_value.get<std::string>();
      }
      continue;
    }
    Entry entry{key, 0, 0};
    auto view = read_entry(value, tensor_data, tensor_bytes, &entry);
    if (!view.ok()) return invalid("tensor '", key, "' ", view.status().message());
    tensors_.emplace(key, std::move(*view));
    entries.push_back(std::move(entry));
  }

  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.begin < position) return invalid("tensor '", entry.name, "' overlaps the one before it");
    if (entry.begin > position)
      return invalid(entry.begin - position, " bytes before tensor '", entry.name, "' belong to none");
    position = entry.end;
  }
  if (position != tensor_bytes) return invalid(tensor_bytes - position, " bytes at the end belong to no tensor");
  return Status();
}

Result<const TensorView*> Safetensors::find(const std::string& tensor, const Dims& dims) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) {
    return error(Code::kInvalidWeights, name_, ": expected a tensor '", tensor, "' ", to_string(dims),
                 ", the file has none");
  }
  if (found->second.dims != dims) {
    return error(Code::kInvalidWeights, name_, ": expected tensor '", tensor, "' to be ", to_string(dims), ", it is ",
                 to_string(found->second.dims));
  }
  return &found->second;
}

Result<std::vector<float>> Safetensors::read_f32(const std::string& tensor, const Dims& dims) const {
  auto found = find(tensor, dims);
  if (!found.ok()) return found.status();
  if (map_ != nullptr) DEEPLAB_RETURN_IF_ERROR(map_->check_not_truncated());
  const TensorView& view = **found;
  std::vector<float> values(view.elements);
  switch (view.dtype) {
    case DType::kF32: convert_elements<float>(view, values.data(), [](float v) { return v; }); break;
    case DType::kF64:
      convert_elements<double>(view, values.data(), [](double v) { return static_cast<float>(v); });
      break;
    case DType::kF16: convert_elements<uint16_t>(view, values.data(), float_from_f16); break;
    case DType::kBF16: convert_elements<uint16_t>(view, values.data(), float_from_bf16); break;
    case DType::kI8: {
      if (dims.empty()) return error(Code::kInvalidWeights, name_, ": tensor '", tensor, "' of I8 has no channels");
      auto scale_view = find(tensor + ".scale", {dims[0]});
      if (!scale_view.ok()) return scale_view.status();
      if ((*scale_view)->dtype == DType::kI8) {
        return error(Code::kInvalidWeights, name_, ": tensor '", tensor, ".scale' is I8, expected floats");
      }
      auto scale = read_f32(tensor + ".scale", {dims[0]});
      if (!scale.ok()) return scale.status();
      convert_elements<int8_t>(view, values.data(), [](int8_t v) { return static_cast<float>(v); });
      const size_t channel_size = dims[0] == 0 ? 0 : values.size() / dims[0];
      for (size_t i = 0; i < values.size(); ++i) values[i] *= (*scale)[i / channel_size];
      break;
    }
    default:
      return error(Code::kInvalidWeights, name_, ": tensor '", tensor, "' is ", dtype_name(view.dtype),
                   ", expected F32, F16, BF16, F64 or I8 with a scale");
  }
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != values.end()) {
    return error(Code::kInvalidWeights, name_, ": tensor '", tensor, "' holds ", *bad, " at element ",
                 bad - values.begin());
  }
  return values;
}

void Safetensors::release_pages() const {
  if (map_ != nullptr) map_->release_pages();
}

}  // namespace deeplab

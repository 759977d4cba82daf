// The validating reader. Every number of the header is compared with the size of the file before it is used
// as an offset, and sums are arranged so that they cannot wrap.
#include "io/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr uint64_t kLengthBytes = 8;
namespace dom = simdjson::dom;

std::string shown(std::string_view name) {  // for messages: file content is shown short and printable
  std::string s = "'";
  for (char c : name.substr(0, 120)) s += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  return s + (name.size() > 120 ? "...'" : "'");
}

// `a * b` or nothing when it does not fit.
std::optional<uint64_t> multiply(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

uint64_t read_header_length(const MappedFile& file) {
  const std::string path = file.path().string();
  constexpr std::string_view kLfs = "version https://git-lfs";
  if (file.size() >= kLfs.size() && std::memcmp(file.data(), kLfs.data(), kLfs.size()) == 0)
    fail_input("{} is a Git LFS pointer, not the weights: fetch the file itself (`git lfs pull`)", path);
  if (file.size() < kLengthBytes + 2)
    fail_input("{} has {} bytes and cannot be a safetensors file: the download is incomplete", path,
               file.size());
  uint64_t length;
  std::memcpy(&length, file.data(), sizeof length);
  if (length > kMaxSafetensorsHeader)
    fail_input("{} is not a safetensors file: it claims a header of {} bytes, the limit is {}", path, length,
               kMaxSafetensorsHeader);
  if (length < 2) fail_input("{} is not a safetensors file: it claims a header of {} bytes", path, length);
  if (length > file.size() - kLengthBytes)
    fail_input("{} has {} bytes but a header of {}: the download is incomplete", path, file.size(), length);
  if (file.data()[kLengthBytes] != std::byte{'{'})
    fail_input("{} is not a safetensors file: its header does not begin with '{{'", path);
  return length;
}

class HeaderReader {
 public:
  HeaderReader(const MappedFile& file, uint64_t length)
      : path_(file.path().string()),
        data_begin_(kLengthBytes + length),
        data_bytes_(file.size() - data_begin_) {
    simdjson::padded_string text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
    dom::parser parser;
    dom::object header;
    auto error = parser.parse(text).get(header);
    if (error)
      fail_input("{}: the safetensors header is not valid JSON: {}", path_, simdjson::error_message(error));
    std::unordered_set<std::string_view> names;
    for (auto [key, value] : header) {
      if (!names.insert(key).second) fail_input("{}: the header names {} twice", path_, shown(key));
      if (key == "__metadata__")
        read_metadata(value);
      else
        tensors_.push_back(read_tensor(key, value));
    }
    check_layout();
  }
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;

 private:
  template <typename... Args>
  [[noreturn]] void bad(std::string_view tensor, fmt::format_string<Args...> format, Args&&... args) {
    fail_input("{}: tensor {}: {}", path_, shown(tensor), fmt::format(format, std::forward<Args>(args)...));
  }

  void read_metadata(dom::element value) {
    dom::object object;
    if (value.get(object)) fail_input("{}: __metadata__ of the header is not an object", path_);
    for (auto [key, text] : object) {
      std::string_view s;
      if (text.get(s)) fail_input("{}: __metadata__ entry {} is not a string", path_, shown(key));
      if (!metadata_.emplace(key, s).second) fail_input("{}: __metadata__ names {} twice", path_, shown(key));
    }
  }

  TensorEntry read_tensor(std::string_view name, dom::element value) {
    dom::object object;
    if (value.get(object)) bad(name, "its description is not an object");
    TensorEntry entry;
    entry.name = name;
    uint64_t range[2] = {0, 0};
    int seen = 0;
    for (auto [key, field] : object) {
      int bit = key == "dtype" ? 1 : key == "shape" ? 2 : key == "data_offsets" ? 4 : 0;
      if (!bit) bad(name, "unknown field {}", shown(key));
      if (seen & bit) bad(name, "the field {} is there twice", key);
      seen |= bit;
      if (bit == 1)
        entry.dtype = read_dtype(name, field);
      else if (bit == 2)
        entry.shape = read_shape(name, field);
      else
        read_range(name, field, range);
    }
    if (seen != 7)
      bad(name, "the field {} is missing", !(seen & 1) ? "dtype" : !(seen & 2) ? "shape" : "data_offsets");
    if (range[0] > range[1]) bad(name, "data_offsets [{}, {}] run backwards", range[0], range[1]);
    if (range[1] > data_bytes_)
      bad(name,
          "data_offsets [{}, {}] reach past the {} bytes of data in the file: the download is incomplete or "
          "damaged",
          range[0], range[1], data_bytes_);
    entry.offset = data_begin_ + range[0];
    entry.bytes = range[1] - range[0];
    check_size(entry);
    return entry;
  }

  DType read_dtype(std::string_view name, dom::element field) {
    std::string_view text;
    if (field.get(text)) bad(name, "dtype is not a string");
    auto dtype = dtype_from_name(text);
    if (!dtype) bad(name, "unknown dtype {}", shown(text));
    return *dtype;
  }

  Shape read_shape(std::string_view name, dom::element field) {
    dom::array array;
    if (field.get(array)) bad(name, "shape is not an array");
    Shape shape;
    for (dom::element item : array) {
      uint64_t d;
      if (item.get(d) || d > uint64_t(INT64_MAX)) bad(name, "shape has an entry that is not a size");
      if (shape.rank == Shape::kMaxRank)
        bad(name, "more than {} dimensions are not supported", Shape::kMaxRank);
      shape.dims[size_t(shape.rank++)] = int64_t(d);
    }
    return shape;
  }

  void read_range(std::string_view name, dom::element field, uint64_t (&range)[2]) {
    dom::array array;
    if (field.get(array)) bad(name, "data_offsets is not an array");
    size_t n = 0;
    for (dom::element item : array) {
      if (n == 2 || item.get(range[n])) bad(name, "data_offsets is not a pair of sizes");
      ++n;
    }
    if (n != 2) bad(name, "data_offsets is not a pair of sizes");
  }

  void check_size(const TensorEntry& entry) {
    // A zero may stand anywhere, so that [2^62, 0, 2^62] is an empty tensor and must not count as too large.
    std::optional<uint64_t> bytes = dtype_bytes(entry.dtype);
    bool empty = false;
    for (int i = 0; i < entry.shape.rank; ++i) {
      empty |= entry.shape[i] == 0;
      if (bytes) bytes = multiply(*bytes, uint64_t(entry.shape[i]));
    }
    if (empty) bytes = 0;
    if (!bytes || *bytes > uint64_t(INT64_MAX)) bad(entry.name, "shape {} is too large", entry.shape.str());
    if (*bytes != entry.bytes)
      bad(entry.name, "shape {} of {} takes {} bytes, but data_offsets give it {}", entry.shape.str(),
          dtype_name(entry.dtype), *bytes, entry.bytes);
  }

  void check_layout() {
    std::sort(tensors_.begin(), tensors_.end(), [](const TensorEntry& a, const TensorEntry& b) {
      return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
    });
    size_t at = data_begin_;
    for (const TensorEntry& entry : tensors_) {
      if (entry.offset < at) bad(entry.name, "its bytes overlap those of another tensor");
      if (entry.offset > at)
        bad(entry.name, "{} bytes before it belong to no tensor: the file is damaged", entry.offset - at);
      at += entry.bytes;
    }
    if (at != data_begin_ + data_bytes_)
      fail_input("{}: {} bytes at the end belong to no tensor: the file is damaged", path_,
                 data_begin_ + data_bytes_ - at);
  }

  std::string path_;
  uint64_t data_begin_, data_bytes_;
};

bool is_float(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::e4m3:
    case DType::e5m2:
    case DType::e8m0:
    case DType::f64:
      return true;
    default:
      return false;
  }
}

template <typename T>
int64_t load_as(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return int64_t(v);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  HeaderReader header(file_, read_header_length(file_));
  tensors_ = std::move(header.tensors_);
  metadata_ = std::move(header.metadata_);
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const TensorEntry& SafetensorsFile::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  fail_input("{} has no tensor {}", path().string(), shown(name));
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
  return file_.bytes().subspan(entry.offset, entry.bytes);
}

Tensor SafetensorsFile::view(const TensorEntry& entry) const {
  const std::byte* data = bytes(entry).data();
  if (reinterpret_cast<uintptr_t>(data) % dtype_bytes(entry.dtype) != 0)
    fail_input("{}: tensor {} is not aligned to its type; write the file again with a current tool",
               path().string(), shown(entry.name));
  return {const_cast<std::byte*>(data), entry.dtype, entry.shape};
}

std::vector<float> SafetensorsFile::read_f32(std::string_view name) const {
  const TensorEntry& entry = at(name);
  if (!is_float(entry.dtype))
    fail_input("{}: tensor {} is {}, not a float type", path().string(), shown(name),
               dtype_name(entry.dtype));
  std::vector<std::byte> aligned(bytes(entry).begin(), bytes(entry).end());
  std::vector<float> out(size_t(entry.shape.elements()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = load_f32(aligned.data(), entry.dtype, i);
  return out;
}

std::vector<int64_t> SafetensorsFile::read_i64(std::string_view name) const {
  const TensorEntry& entry = at(name);
  auto load = [&]() -> int64_t (*)(const std::byte*) {
    switch (entry.dtype) {
      case DType::i8:
        return load_as<int8_t>;
      case DType::u8:
      case DType::boolean:
        return load_as<uint8_t>;
      case DType::i16:
        return load_as<int16_t>;
      case DType::u16:
        return load_as<uint16_t>;
      case DType::i32:
        return load_as<int32_t>;
      case DType::u32:
        return load_as<uint32_t>;
      case DType::i64:
      case DType::u64:
        return load_as<int64_t>;
      default:
        fail_input("{}: tensor {} is {}, not an integer type", path().string(), shown(name),
                   dtype_name(entry.dtype));
    }
  }();
  std::vector<int64_t> out(size_t(entry.shape.elements()));
  const std::byte* data = bytes(entry).data();
  for (size_t i = 0; i < out.size(); ++i) out[i] = load(data + i * dtype_bytes(entry.dtype));
  return out;
}

}  // namespace vl8

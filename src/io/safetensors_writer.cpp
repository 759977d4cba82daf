#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/error.h"
#include "io/safetensors.h"

namespace vl8 {
namespace {

struct Layout {
  std::string head;                   // length and header, padded to 8 bytes
  std::vector<uint64_t> begin, size;  // of each spec, from the start of the file
  uint64_t file_bytes = 0;
};

Layout lay_out(const std::vector<TensorSpec>& specs, const std::map<std::string, std::string>& metadata) {
  std::vector<size_t> order(specs.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    size_t size_a = dtype_bytes(specs[a].dtype), size_b = dtype_bytes(specs[b].dtype);
    return size_a != size_b ? size_a > size_b : specs[a].name < specs[b].name;
  });
  Layout layout;
  layout.begin.resize(specs.size());
  layout.size.resize(specs.size());
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::unordered_set<std::string_view> names;
  uint64_t at = 0;
  for (size_t i : order) {
    const TensorSpec& spec = specs[i];
    check(spec.name != "__metadata__" && names.insert(spec.name).second,
          "tensor name {} cannot be used twice", spec.name);
    layout.begin[i] = at;
    layout.size[i] = spec_bytes(spec);
    at += layout.size[i];
    auto dims = std::vector<int64_t>(spec.shape.dims.begin(), spec.shape.dims.begin() + spec.shape.rank);
    if (text.size() > 1) text += ',';
    text += nlohmann::json(spec.name).dump() + ":{\"dtype\":\"" + std::string(dtype_name(spec.dtype)) +
            "\",\"shape\":" + nlohmann::json(dims).dump() +
            fmt::format(",\"data_offsets\":[{},{}]}}", layout.begin[i], at);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= kMaxSafetensorsHeader, "a safetensors header of {} bytes is too large", text.size());
  uint64_t length = text.size();
  layout.head.assign(reinterpret_cast<const char*>(&length), sizeof length);
  layout.head += text;
  for (uint64_t& b : layout.begin) b += layout.head.size();
  layout.file_bytes = layout.head.size() + at;
  return layout;
}

void write_all(int fd, const void* data, size_t count, uint64_t offset, const std::filesystem::path& path) {
  auto p = static_cast<const char*>(data);
  while (count > 0) {
    ssize_t n = pwrite(fd, p, std::min(count, size_t(1) << 30), off_t(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      fail(ErrorKind::resource, "cannot write {}: {}", path.string(), std::strerror(n ? errno : ENOSPC));
    p += n, count -= size_t(n), offset += uint64_t(n);
  }
}

}  // namespace

uint64_t spec_bytes(const TensorSpec& spec) {
  uint64_t bytes = dtype_bytes(spec.dtype);
  for (int i = 0; i < spec.shape.rank; ++i) {
    check(spec.shape[i] >= 0, "tensor {} has shape {}", spec.name, spec.shape.str());
    check(!__builtin_mul_overflow(bytes, uint64_t(spec.shape[i]), &bytes), "tensor {} {} is too large",
          spec.name, spec.shape.str());
  }
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, std::vector<TensorSpec> specs,
                                     std::map<std::string, std::string> metadata, bool resumable)
    : path_(std::move(path)), aside_(path_), specs_(std::move(specs)), resumable_(resumable) {
  Layout layout = lay_out(specs_, metadata);
  begin_ = std::move(layout.begin);
  size_ = std::move(layout.size);
  file_bytes_ = layout.file_bytes;
  left_bytes_ = file_bytes_ - layout.head.size();
  aside_ += resumable ? ".partial" : fmt::format(".{}.partial", getpid());
  if (resumable && access(aside_.c_str(), F_OK) != 0) rename(path_.c_str(), aside_.c_str());  // killed in commit()
  fd_ = open(aside_.c_str(), O_RDWR | O_CREAT | (resumable ? 0 : O_TRUNC) | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(ErrorKind::resource, "cannot write {}: {}", path_.string(), std::strerror(errno));
  try {
    write_all(fd_, layout.head.data(), layout.head.size(), 0, path_);
  } catch (...) {
    close(fd_);
    if (!resumable_) unlink(aside_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  close(fd_);
  if (!resumable_) unlink(aside_.c_str());
}

void SafetensorsWriter::check_range(size_t index, size_t offset, size_t count) const {
  check(fd_ >= 0 && index < specs_.size(), "tensor {} of {}", index, specs_.size());
  check(count <= size_[index] && offset <= size_[index] - count, "[{}, +{}) of tensor {} of {} bytes", offset, count,
        specs_[index].name, size_[index]);
}

void SafetensorsWriter::skip(size_t index, size_t offset, size_t count) {
  check_range(index, offset, count);
  left_bytes_ -= count;
}

void SafetensorsWriter::read(size_t index, size_t offset, std::span<std::byte> data) const {
  check_range(index, offset, data.size());
  uint64_t at = begin_[index] + offset;
  while (!data.empty()) {
    ssize_t n = pread(fd_, data.data(), data.size(), off_t(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(ErrorKind::resource, "cannot read back {}: {}", path_.string(), n ? std::strerror(errno) : "it is too short");
    data = data.subspan(size_t(n)), at += uint64_t(n);
  }
}

void SafetensorsWriter::flush() const {
  if (fdatasync(fd_) != 0 && errno != EINVAL) fail(ErrorKind::resource, "cannot write {}: {}", path_.string(), std::strerror(errno));
  posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

void SafetensorsWriter::write(size_t index, size_t offset, std::span<const std::byte> data) {
  check_range(index, offset, data.size());
  write_all(fd_, data.data(), data.size(), begin_[index] + offset, path_);
  left_bytes_ -= data.size();
}

void SafetensorsWriter::commit() {
  check(fd_ >= 0 && left_bytes_ == 0, "{}: {} bytes were not written, or were written twice", path_.string(),
        left_bytes_.load());
  bool ok = fsync(fd_) == 0 || errno == EINVAL;
  int error = errno;
  if (close(fd_) != 0 && ok) ok = false, error = errno;
  fd_ = -1;
  if (ok && rename(aside_.c_str(), path_.c_str()) != 0) ok = false, error = errno;
  if (ok) return;
  if (!resumable_) unlink(aside_.c_str());
  fail(ErrorKind::resource, "cannot write {}: {}", path_.string(), std::strerror(error));
}

uint64_t safetensors_bytes(const std::vector<TensorSpec>& specs,
                           const std::map<std::string, std::string>& metadata) {
  return lay_out(specs, metadata).file_bytes;
}

void write_safetensors(const std::filesystem::path& path,
                       std::span<const std::pair<std::string, Tensor>> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, specs, metadata);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].second;
    writer.write(i, 0, {static_cast<const std::byte*>(tensor.data), tensor.bytes()});
  }
  writer.commit();
}

}  // namespace vl8

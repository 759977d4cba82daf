// The safetensors file format, read and written. A file is: header length (8 bytes, little endian), header
// (JSON, at most 100 MB), then the bytes of all tensors. Nothing of the header is believed before it has been
// checked against the size of the file: see SafetensorsFile. Source: spec section 2 and the format's public
// description.
#pragma once
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/mmap.h"
#include "core/tensor.h"

namespace vl8 {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes; the limit other readers use too

struct TensorEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  size_t offset = 0;  // from the start of the file
  size_t bytes = 0;
};

// A mapped file whose header has been validated. Accepted is what the format demands, no more: one JSON
// object; every tensor has exactly dtype, shape (rank 0 to 5) and data_offsets; the ranges, in order, cover
// the data section with no hole, overlap or trailing byte; names are unique; __metadata__ maps strings to
// strings. A tensor with a zero in its shape has an empty range. Throws Error(input) that names the file and
// the tensor.
class SafetensorsFile {
 public:
  SafetensorsFile() = default;
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  size_t file_bytes() const { return file_.size(); }
  std::span<const TensorEntry> tensors() const { return tensors_; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorEntry* find(std::string_view name) const;  // null when absent
  const TensorEntry& at(std::string_view name) const;    // Error(input) when absent

  // Bytes and views into the map, valid while this object lives (also after a move). Read-only memory:
  // writing to a view is a fault. The format does not align tensors, so view() refuses one that is not
  // aligned to its type.
  std::span<const std::byte> bytes(const TensorEntry& entry) const;
  Tensor view(const TensorEntry& entry) const;
  Tensor view(std::string_view name) const { return view(at(name)); }

  std::vector<float> read_f32(std::string_view name) const;    // any float type, at any alignment
  std::vector<int64_t> read_i64(std::string_view name) const;  // any integer type, at any alignment

  void populate(const TensorEntry& entry) const { file_.populate(entry.offset, entry.bytes); }
  void drop(const TensorEntry& entry) const { file_.drop(entry.offset, entry.bytes); }
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::vector<TensorEntry> tensors_;
  std::unordered_map<std::string_view, size_t> index_;  // into the names of tensors_
  std::map<std::string, std::string> metadata_;
};

struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
};

uint64_t spec_bytes(const TensorSpec& spec);  // of the data; Error(internal) when it does not fit 64 bits

// Writes a file piece by piece, from any number of threads, in any order. Tensors are laid out like the
// reference writer does (larger types first, then by name), so each is aligned to its type. The file appears
// under its name only in commit(); before that it lies beside it as NAME.<pid>.partial, which the destructor
// removes, or, resumable, as NAME.partial, which stays: what an earlier writer of the same specs wrote is still
// in it, and skip() counts it.
class SafetensorsWriter {
 public:
  SafetensorsWriter(std::filesystem::path path, std::vector<TensorSpec> specs,
                    std::map<std::string, std::string> metadata = {{"format", "pt"}}, bool resumable = false);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Bytes [offset, offset + data.size()) of the tensor specs[index]; each byte once. Throws Error(resource)
  // on a full disk.
  void write(size_t index, size_t offset, std::span<const std::byte> data);
  void skip(size_t index, size_t offset, size_t count);  // written before an interruption
  void read(size_t index, size_t offset, std::span<std::byte> data) const;  // what was written
  void flush() const;  // to the disk, and out of the page cache: later reads come from the disk
  // Checks that every byte was written, flushes to disk and renames. Throws Error(resource).
  void commit();
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  std::filesystem::path path_, aside_;
  std::vector<TensorSpec> specs_;
  std::vector<uint64_t> begin_, size_;  // of each spec, in the file
  uint64_t file_bytes_ = 0;
  std::atomic<uint64_t> left_bytes_{0};
  bool resumable_ = false;
  int fd_ = -1;
  void check_range(size_t index, size_t offset, size_t count) const;
};

uint64_t safetensors_bytes(const std::vector<TensorSpec>& specs,
                           const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

// A dump: all tensors at once (`vl8 dump`, tests).
void write_safetensors(const std::filesystem::path& path,
                       std::span<const std::pair<std::string, Tensor>> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace vl8

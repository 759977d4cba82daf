// A whole file mapped read-only. Pages are the kernel's: shared between processes and dropped under pressure.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace vl8 {

class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);  // throws Error(input) naming the file
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Reads [offset, offset+count) into the page cache at the disk's speed and maps it (MADV_POPULATE_READ, or a
  // touch of each page on a kernel before 5.14).
  void populate(size_t offset, size_t count) const;
  // Says that [offset, offset+count) will not be needed again soon, so that it leaves our resident set.
  void drop(size_t offset, size_t count) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vl8

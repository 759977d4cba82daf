#include "core/mmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace vl8 {
namespace {
constexpr size_t kPage = 4096;
struct Range {
  void* begin;
  size_t bytes;
};
Range whole_pages(const std::byte* data, size_t size, size_t offset, size_t count) {
  size_t end = std::min(size, offset + std::min(count, size));
  size_t begin = std::min(offset, size) & ~(kPage - 1);
  return {const_cast<std::byte*>(data) + begin, end > begin ? end - begin : 0};
}
}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_input("cannot open {}: {}", path.string(), std::strerror(errno));
  struct stat st {};
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    fail_input("{} is not a regular file", path.string());
  }
  size_ = size_t(st.st_size);
  if (size_ > 0) {
    void* p = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (p == MAP_FAILED) fail_input("cannot map {}: {}", path.string(), std::strerror(error));
    data_ = static_cast<const std::byte*>(p);
  } else {
    close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::populate(size_t offset, size_t count) const {
  Range r = whole_pages(data_, size_, offset, count);
  if (!r.bytes || madvise(r.begin, r.bytes, MADV_POPULATE_READ) == 0) return;
  madvise(r.begin, r.bytes, MADV_SEQUENTIAL);
  volatile char sink = 0;
  for (size_t i = 0; i < r.bytes; i += kPage) sink = sink + static_cast<const char*>(r.begin)[i];
}

void MappedFile::drop(size_t offset, size_t count) const {
  Range r = whole_pages(data_, size_, offset, count);
  if (r.bytes) madvise(r.begin, r.bytes, MADV_DONTNEED);
}

}  // namespace vl8

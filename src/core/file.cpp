#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace vl8 {

bool is_file(const std::filesystem::path& path) {
  std::error_code ec;
  return std::filesystem::is_regular_file(path, ec);
}

std::string read_file(const std::filesystem::path& path, size_t max_bytes) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_input("cannot open {}: {}", path.string(), std::strerror(errno));
  struct stat st {};
  fstat(fd, &st);
  if (S_ISDIR(st.st_mode)) {
    close(fd);
    fail_input("{} is a folder, not a file", path.string());
  }
  std::string text;
  text.resize(S_ISREG(st.st_mode) && size_t(st.st_size) <= max_bytes ? size_t(st.st_size) + 1 : 65536);
  size_t used = 0;
  for (;;) {
    ssize_t n = read(fd, text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    int error = errno;
    if (n <= 0) {
      close(fd);
      if (n < 0) fail_input("cannot read {}: {}", path.string(), std::strerror(error));
      text.resize(used);
      return text;
    }
    used += size_t(n);
    if (used > max_bytes) {
      close(fd);
      fail_input("{} has more than {} bytes, the limit for this kind of file", path.string(), max_bytes);
    }
    if (used == text.size()) text.resize(text.size() * 2);
  }
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path aside = path;
  aside += fmt::format(".{}.partial", getpid());
  int fd = open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) fail(ErrorKind::resource, "cannot write {}: {}", path.string(), std::strerror(errno));
  bool ok = true;
  int error = 0;
  while (ok && !content.empty()) {
    ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ok = false, error = errno;
    else content.remove_prefix(size_t(n));
  }
  if (ok && fsync(fd) != 0 && errno != EINVAL) ok = false, error = errno;
  if (close(fd) != 0 && ok) ok = false, error = errno;
  if (ok && rename(aside.c_str(), path.c_str()) != 0) ok = false, error = errno;
  if (!ok) {
    unlink(aside.c_str());
    fail(ErrorKind::resource, "cannot write {}: {}", path.string(), std::strerror(error));
  }
}

uint64_t free_disk_bytes(const std::filesystem::path& path) {
  std::error_code ec;
  auto info = std::filesystem::space(path, ec);
  return ec ? 0 : info.available;
}

}  // namespace vl8

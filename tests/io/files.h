// Files that tests make: a folder that goes away, raw safetensors files with any header, and model folders
// from a list of tensors.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace vl8::testing {
namespace fs = std::filesystem;

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (fs::path(::testing::TempDir()) / "vl8_XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ec;
    fs::remove_all(path_, ec);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(std::string_view name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& path, std::string_view text) {
  std::error_code ec;
  fs::remove(path, ec);  // a new file, not a truncated one: some file systems flush those at once
  std::ofstream(path, std::ios::binary).write(text.data(), std::streamsize(text.size()));
}

// length, header as given, then `data` zero bytes (sparse).
inline void write_raw(const fs::path& path, std::string_view header, uint64_t data,
                      int64_t length_off_by = 0) {
  uint64_t length = uint64_t(int64_t(header.size()) + length_off_by);
  std::string head(reinterpret_cast<const char*>(&length), 8);
  write_text(path, head + std::string(header));
  fs::resize_file(path, 8 + header.size() + data);
}

// The message of the Error that f throws; "" when it throws none.
template <typename F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace vl8::testing

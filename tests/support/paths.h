// Where tests find material that is not in the repository. Tests skip, with a word why, when it is missing.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace vl8::testing {
namespace fs = std::filesystem;

// VL8_SHARED, or the folder `shared` beside the source folder.
inline std::optional<fs::path> shared_dir() {
  const char* set = std::getenv("VL8_SHARED");
  fs::path dir = set && *set ? fs::path(set) : fs::path(VL8_SOURCE_DIR) / ".." / "shared";
  std::error_code ec;
  if (!fs::is_directory(dir, ec)) return std::nullopt;
  return dir;
}

// VL8_GOLDEN, or <shared>/golden.
inline std::optional<fs::path> golden_dir() {
  const char* set = std::getenv("VL8_GOLDEN");
  auto shared = shared_dir();
  if (!(set && *set) && !shared) return std::nullopt;
  fs::path dir = set && *set ? fs::path(set) : *shared / "golden";
  std::error_code ec;
  if (!fs::is_directory(dir, ec)) return std::nullopt;
  return dir;
}

}  // namespace vl8::testing

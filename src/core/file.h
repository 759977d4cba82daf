// Small files: read whole with a limit; written aside, flushed to disk and renamed, so that a reader sees the old
// or the new content and a full disk leaves the old one.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace vl8 {

std::string read_file(const std::filesystem::path& path, size_t max_bytes = size_t(256) << 20);
void write_file(const std::filesystem::path& path, std::string_view content);
bool is_file(const std::filesystem::path& path);  // no throw, also where a parent cannot be read
uint64_t free_disk_bytes(const std::filesystem::path& path);

}  // namespace vl8

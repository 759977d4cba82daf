// Files compiled into the program by cmake/embed.cmake.
#pragma once
#include <span>
#include <string_view>

namespace vl8 {

struct EmbeddedFile {
  std::string_view name, bytes;
};
std::span<const EmbeddedFile> embedded_files();

}  // namespace vl8

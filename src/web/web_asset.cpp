#include "web/web_asset.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>

#include "web/embedded_files.h"

namespace vl8 {
namespace {

struct Type {
  std::string_view suffix, content_type;
};
constexpr std::array<Type, 3> kTypes = {{{".html", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"}}};

}  // namespace

std::optional<WebAsset> web_asset(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  const std::string_view name = path == "/" ? "index.html" : path.substr(1);
  for (const EmbeddedFile& f : embedded_files()) {
    if (f.name != name) continue;
    for (const Type& t : kTypes)
      if (name.ends_with(t.suffix)) return WebAsset{f.bytes, t.content_type, fmt::format("\"{:016x}\"", XXH3_64bits(f.bytes.data(), f.bytes.size()))};
  }
  return std::nullopt;
}

std::string_view web_content_security_policy() {
  return "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

}  // namespace vl8

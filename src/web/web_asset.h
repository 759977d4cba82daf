// The page that `vl8 serve` shows at /: the files of web/, kept in the program. They load nothing from elsewhere.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace vl8 {

struct WebAsset {
  std::string_view bytes;         // live as long as the program
  std::string_view content_type;  // with its charset
  std::string etag;               // of the content, quoted; for If-None-Match
};

// path: of the request, "/" or "/app.js". Nothing for a path that is no file of the page.
std::optional<WebAsset> web_asset(std::string_view path);

// For the Content-Security-Policy header of every asset: scripts, styles and connections of this server only; pictures and clips
// also from the user's own files.
std::string_view web_content_security_policy();

}  // namespace vl8

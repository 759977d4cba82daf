// Everything `vl8 serve` can be told, from flags and a TOML file. One table (setting_rows) names each setting once: its key in
// the file, its flag, what it means, and whether SIGHUP applies a new value.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "server/api_request.h"
#include "server/http_server.h"

namespace vl8 {

struct MediaLimits {
  std::vector<std::string> hosts;  // http(s) sources: exact names, or "*.example.com"; empty: remote media are off
  std::string root;                // file:// sources lie under this folder; empty: they are off
  size_t max_image_bytes = size_t(32) << 20, max_video_bytes = size_t(256) << 20;  // encoded
  int64_t max_pixels = int64_t(64) << 20;  // of one picture as stored
  int64_t max_request_pixels = int64_t(256) << 20;  // of all pictures of a request
  double fetch_timeout_s = 15;     // for one remote file, redirects included
  double decode_timeout_s = 20;    // for one picture; then the decoder is killed
  int decoders = 2;                // processes
  int64_t decoder_memory_bytes = int64_t(2) << 30;  // address space of each
};

struct ServerConfig {
  std::string host = "127.0.0.1";
  int port = 8000;
  std::string model_name;          // in answers and /v1/models; empty: the folder's name
  bool strict_model_name = false;  // 404 for other names
  std::string api_key_file;        // one key a line; empty: no keys
  bool open_metrics = true;        // /metrics needs no key
  std::vector<std::string> cors_origins;  // "https://app.example.com", or "*"
  std::string tls_certificate, tls_key;
  double drain_s = 30;             // SIGTERM: longest wait for running answers
  std::string log_format = "text"; // text or json
  int workers = 2;                 // threads that parse, tokenise and prepare pictures
  int64_t queue_requests = 256;    // waiting generations; more get 429
  int max_sessions = 8;            // live sessions at once
  double session_idle_s = 600;     // one that nobody has used for so long makes room for another
  HttpLimits http;
  RequestLimits limits;
  MediaLimits media;

  void validate() const;  // Error(usage) naming the setting
};

struct SettingRow {
  const char* key;   // in the file, "limits.max_images"; the flag is --max-images
  const char* help;
  bool reloadable;   // SIGHUP takes over a new value from the file
  using Target = std::variant<std::string*, bool*, int*, int64_t*, size_t*, double*, std::vector<std::string>*>;
  Target (*target)(ServerConfig&);
};
std::span<const SettingRow> setting_rows();
std::string setting_flag(const SettingRow& row);  // "--max-images"

void copy_setting(const SettingRow& row, ServerConfig& from, ServerConfig& to);

// Puts what the file says into config. Unknown keys and wrong types are Error(input) naming file, line and key.
void read_config_file(const std::filesystem::path& path, ServerConfig& config);

}  // namespace vl8

#include "server/server_config.h"

#include <toml++/toml.h>

#include <algorithm>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {

using T = SettingRow::Target;

constexpr SettingRow kRows[] = {
    {"host", "address to listen on", false, [](ServerConfig& c) -> T { return &c.host; }},
    {"port", "TCP port; 0 takes a free one", false, [](ServerConfig& c) -> T { return &c.port; }},
    {"model_name", "name in answers and /v1/models (default: the folder's)", false, [](ServerConfig& c) -> T { return &c.model_name; }},
    {"strict_model_name", "refuse requests for another model name with 404", true, [](ServerConfig& c) -> T { return &c.strict_model_name; }},
    {"workers", "threads that parse requests, tokenise and prepare pictures", false, [](ServerConfig& c) -> T { return &c.workers; }},
    {"drain_s", "SIGTERM: seconds that running answers may still take", true, [](ServerConfig& c) -> T { return &c.drain_s; }},
    {"log_format", "text or json", false, [](ServerConfig& c) -> T { return &c.log_format; }},
    {"auth.api_key_file", "file of accepted API keys, one a line; SIGHUP reads it again", false, [](ServerConfig& c) -> T { return &c.api_key_file; }},
    {"auth.open_metrics", "/metrics needs no key", true, [](ServerConfig& c) -> T { return &c.open_metrics; }},
    {"auth.cors_origin", "origin whose web pages may call this server (may be repeated)", true, [](ServerConfig& c) -> T { return &c.cors_origins; }},
    {"tls.certificate", "PEM certificate chain: turns TLS on; SIGHUP reads it again", false, [](ServerConfig& c) -> T { return &c.tls_certificate; }},
    {"tls.key", "PEM private key of the certificate", false, [](ServerConfig& c) -> T { return &c.tls_key; }},
    {"limits.max_body_bytes", "largest request body", true, [](ServerConfig& c) -> T { return &c.http.max_body_bytes; }},
    {"limits.max_inflight_bytes", "bodies of all requests at once", true, [](ServerConfig& c) -> T { return &c.http.max_inflight_bytes; }},
    {"limits.max_connections", "open connections", true, [](ServerConfig& c) -> T { return &c.http.max_connections; }},
    {"limits.header_timeout_s", "seconds for a request's header", true, [](ServerConfig& c) -> T { return &c.http.header_timeout_s; }},
    {"limits.body_timeout_s", "seconds for a request's body", true, [](ServerConfig& c) -> T { return &c.http.body_timeout_s; }},
    {"limits.idle_timeout_s", "seconds that an idle connection is kept", true, [](ServerConfig& c) -> T { return &c.http.idle_timeout_s; }},
    {"limits.send_timeout_s", "seconds that a client may leave an answer unread", true, [](ServerConfig& c) -> T { return &c.http.send_timeout_s; }},
    {"limits.queue", "waiting requests; more are refused with 429", true, [](ServerConfig& c) -> T { return &c.queue_requests; }},
    {"limits.max_sessions", "live sessions at once", true, [](ServerConfig& c) -> T { return &c.max_sessions; }},
    {"limits.session_idle_s", "a session unused for so many seconds may be ended for another", true, [](ServerConfig& c) -> T { return &c.session_idle_s; }},
    {"limits.max_answer_tokens", "longest answer a request may ask for; 0: the context", true, [](ServerConfig& c) -> T { return &c.limits.max_tokens; }},
    {"limits.default_answer_tokens", "answer length where a request names none; 0: what the context leaves, at most 4096", true, [](ServerConfig& c) -> T { return &c.limits.default_max_tokens; }},
    {"limits.max_n", "answers to one request", true, [](ServerConfig& c) -> T { return &c.limits.max_n; }},
    {"limits.max_images", "pictures in one request", true, [](ServerConfig& c) -> T { return &c.limits.max_images; }},
    {"limits.max_videos", "clips in one request", true, [](ServerConfig& c) -> T { return &c.limits.max_videos; }},
    {"limits.max_tools", "tools in one request", true, [](ServerConfig& c) -> T { return &c.limits.max_tools; }},
    {"media.allow_media_host", "host from which pictures may be fetched, or *.example.com (may be repeated; default: none)", true, [](ServerConfig& c) -> T { return &c.media.hosts; }},
    {"media.media_root", "folder under which file:// URLs are allowed (default: none)", true, [](ServerConfig& c) -> T { return &c.media.root; }},
    {"media.max_image_bytes", "largest encoded picture", true, [](ServerConfig& c) -> T { return &c.media.max_image_bytes; }},
    {"media.max_video_bytes", "largest encoded clip", true, [](ServerConfig& c) -> T { return &c.media.max_video_bytes; }},
    {"media.max_image_pixels", "most pixels of one picture", true, [](ServerConfig& c) -> T { return &c.media.max_pixels; }},
    {"media.max_request_pixels", "most pixels of all pictures of a request", true, [](ServerConfig& c) -> T { return &c.media.max_request_pixels; }},
    {"media.fetch_timeout_s", "seconds for one remote file", true, [](ServerConfig& c) -> T { return &c.media.fetch_timeout_s; }},
    {"media.decode_timeout_s", "seconds for one picture; then its decoder is killed", true, [](ServerConfig& c) -> T { return &c.media.decode_timeout_s; }},
    {"media.decoders", "decoder processes", false, [](ServerConfig& c) -> T { return &c.media.decoders; }},
    {"media.decoder_memory_bytes", "address space of each decoder process", false, [](ServerConfig& c) -> T { return &c.media.decoder_memory_bytes; }},
};

struct Place {
  const std::filesystem::path& file;
  uint32_t line;
  std::string key;
  [[noreturn]] void wrong(std::string_view wanted) const { fail_input("{}:{}: {} must be {}", file.string(), line, key, wanted); }
};

template <typename N>
void set_number(N* field, const toml::node& node, const Place& place) {
  if constexpr (std::is_floating_point_v<N>) {
    auto v = node.value<double>();
    if (!v || node.is_boolean()) place.wrong("a number");
    *field = N(*v);
  } else {
    auto v = node.is_integer() ? node.value<int64_t>() : std::optional<int64_t>();
    if (!v) place.wrong("an integer");
    if (*v < 0 || *v > int64_t(std::min<uint64_t>(uint64_t(std::numeric_limits<N>::max()), INT64_MAX))) place.wrong("from 0 to the largest integer");
    *field = N(*v);
  }
}

void set_value(T target, const toml::node& node, const Place& place) {
  std::visit([&](auto* field) {
    using F = std::remove_pointer_t<decltype(field)>;
    if constexpr (std::is_same_v<F, std::string>) {
      auto v = node.is_string() ? node.value<std::string>() : std::optional<std::string>();
      if (!v) place.wrong("a string");
      *field = *v;
    } else if constexpr (std::is_same_v<F, bool>) {
      auto v = node.is_boolean() ? node.value<bool>() : std::optional<bool>();
      if (!v) place.wrong("true or false");
      *field = *v;
    } else if constexpr (std::is_same_v<F, std::vector<std::string>>) {
      const toml::array* list = node.as_array();
      if (!list) place.wrong("an array of strings");
      field->clear();
      for (const toml::node& item : *list) {
        if (!item.is_string()) place.wrong("an array of strings");
        field->push_back(*item.value<std::string>());
      }
    } else {
      set_number(field, node, place);
    }
  }, target);
}

void read_table(const toml::table& table, const std::string& prefix, const std::filesystem::path& path, ServerConfig& config) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (node.is_table()) {
      read_table(*node.as_table(), key + ".", path, config);
      continue;
    }
    const auto row = std::find_if(std::begin(kRows), std::end(kRows), [&](const SettingRow& r) { return key == r.key; });
    if (row == std::end(kRows)) fail_input("{}:{}: unknown setting '{}'; vl8 serve --help lists them", path.string(), node.source().begin.line, key);
    set_value(row->target(config), node, {path, node.source().begin.line, key});
  }
}

void require(bool condition, std::string_view key, std::string_view rule) {
  if (!condition) fail_usage("{}: {}", key, rule);
}

}  // namespace

std::span<const SettingRow> setting_rows() { return kRows; }

std::string setting_flag(const SettingRow& row) {
  std::string_view key = row.key;
  if (key == "tls.certificate" || key == "tls.key") key = key == "tls.key" ? "tls_key" : "tls_certificate";
  else if (size_t dot = key.find('.'); dot != std::string_view::npos) key.remove_prefix(dot + 1);
  std::string flag = "--" + std::string(key);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

void copy_setting(const SettingRow& row, ServerConfig& from, ServerConfig& to) {
  T source = row.target(from);
  std::visit([&](auto* field) { *field = *std::get<decltype(field)>(source); }, row.target(to));
}

void read_config_file(const std::filesystem::path& path, ServerConfig& config) {
  const std::string text = read_file(path, size_t(1) << 20);
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    fail_input("{}:{}: {}", path.string(), e.source().begin.line, e.description());
  }
  ServerConfig changed = config;
  read_table(table, {}, path, changed);
  changed.validate();
  config = std::move(changed);
}

void ServerConfig::validate() const {
  require(port >= 0 && port <= 65535, "port", "from 0 to 65535");
  require(workers >= 1 && workers <= 256, "workers", "from 1 to 256");
  require(media.decoders >= 1 && media.decoders <= 64, "media.decoders", "from 1 to 64");
  require(media.decoder_memory_bytes >= int64_t(256) << 20, "media.decoder_memory_bytes", "at least 268435456 (256 MB)");
  require(log_format == "text" || log_format == "json", "log_format", "text or json");
  require(tls_certificate.empty() == tls_key.empty(), "tls.certificate", "a certificate and its key come together");
  require(http.max_body_bytes >= 1024, "limits.max_body_bytes", "at least 1024");
  require(http.max_connections >= 1, "limits.max_connections", "at least 1");
  require(queue_requests >= 1, "limits.queue", "at least 1");
  require(limits.max_n >= 1 && limits.max_n <= 1024, "limits.max_n", "from 1 to 1024");
  for (double t : {http.header_timeout_s, http.body_timeout_s, http.idle_timeout_s, http.send_timeout_s, media.fetch_timeout_s, media.decode_timeout_s})
    require(t > 0 && t <= 86400, "a timeout", "more than 0 and at most 86400 seconds");
  require(drain_s >= 0 && drain_s <= 86400, "drain_s", "from 0 to 86400 seconds");
  require(media.root.empty() || std::filesystem::is_directory(media.root), "media.media_root", "must be an existing folder");
}

}  // namespace vl8

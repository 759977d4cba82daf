#include "server/access_log.h"

#include <nlohmann/json.hpp>

#include <spdlog/pattern_formatter.h>

#include "core/log.h"

namespace vl8 {
namespace {

// %* in a pattern: the message as a JSON string, or the object that it already is.
class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string_view text(msg.payload.data(), msg.payload.size());
    std::string json = text.starts_with("{\"event\"") ? R"("request":)" + std::string(text)
                                                      : R"("message":)" + nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(json.data(), json.data() + json.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

std::string printable(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return out;
}

}  // namespace

void set_log_format(bool json) {
  if (!json) {
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$: %v");
    return;
  }
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonMessage>('*').set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%*})");
  spdlog::set_formatter(std::move(formatter));
}

std::string_view valid_traceparent(std::string_view h) {
  // version "-" trace-id "-" parent-id "-" flags, lower-case hexadecimal; all-zero ids are invalid
  if (h.size() != 55 || h[2] != '-' || h[35] != '-' || h[52] != '-' || h.starts_with("ff")) return {};
  for (size_t i = 0; i < h.size(); ++i)
    if (i != 2 && i != 35 && i != 52 && !((h[i] >= '0' && h[i] <= '9') || (h[i] >= 'a' && h[i] <= 'f'))) return {};
  auto zero = [](std::string_view s) { return s.find_first_not_of('0') == std::string_view::npos; };
  return zero(h.substr(3, 32)) || zero(h.substr(36, 16)) ? std::string_view() : h;
}

void AccessLog::write(Exchange& x, int status, size_t bytes, bool abandoned, std::chrono::steady_clock::time_point begun) const {
  if (!spdlog::should_log(spdlog::level::info)) return;
  const HttpRequest& r = x.request();
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
  const std::string_view trace = valid_traceparent(r.header("traceparent"));
  if (!json_) {
    std::string line = fmt::format("{} {} {} {} {} {:.1f} ms {} bytes", r.id, r.client, r.method, printable(r.path, 200), abandoned ? "abandoned" : std::to_string(status), ms, bytes);
    for (const auto& [name, value] : x.notes()) line += fmt::format(" {}={}", name, value);
    if (!trace.empty()) line += fmt::format(" trace={}", trace.substr(3, 32));
    spdlog::info("{}", line);
    return;
  }
  nlohmann::ordered_json j = {{"event", "request"}, {"id", r.id}, {"client", r.client}, {"method", r.method}, {"path", printable(r.path, 200)}, {"status", status},
                              {"ms", std::round(ms * 10) / 10}, {"bytes", bytes}};
  if (abandoned) j["abandoned"] = true;
  for (const auto& [name, value] : x.notes()) j[name] = value;
  if (!trace.empty()) j["trace_id"] = trace.substr(3, 32), j["parent_id"] = trace.substr(36, 16);
  spdlog::info("{}", j.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace vl8

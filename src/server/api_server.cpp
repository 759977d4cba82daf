#include "server/api_server.h"

#include <csignal>
#include <thread>

#include "core/log.h"
#include "server/access_log.h"
#include "server/generation.h"
#include "server/transcript.h"
#include "web/web_asset.h"

#ifndef VL8_VERSION
#define VL8_VERSION "0"
#endif

namespace vl8 {
namespace {

enum class Access : uint8_t { open, key, metrics };

struct Route {
  const char* method;
  const char* path;
  Access access;
  bool works;  // makes the engine work: refused while shutting down
  void (*handle)(ServerState& server, std::shared_ptr<Exchange> x);
};

template <const ApiDialect& dialect>
void generate(ServerState& server, std::shared_ptr<Exchange> x) {
  start_generation(server, std::move(x), dialect);
}

Json model_object(const ServerState& server) {
  return {{"id", server.model().names.front()}, {"object", "model"}, {"created", server.started}, {"owned_by", "vl8"}, {"max_model_len", server.model().context}};
}

void list_models(ServerState& server, std::shared_ptr<Exchange> x) {
  x->respond(200, dump({{"object", "list"}, {"data", Json::array({model_object(server)})}}));
}

void one_model(ServerState& server, std::shared_ptr<Exchange> x) {
  const std::string name = x->request().path.substr(std::string_view("/v1/models/").size());
  if (name == server.model().names.front()) return x->respond(200, dump(model_object(server)));
  respond_error(x, std::make_exception_ptr(ApiError(404, "invalid_request_error", fmt::format("model: '{}' is not served here", name.substr(0, 200)), "model", "model_not_found")), openai_error);
}

void detokenize(ServerState& server, std::shared_ptr<Exchange> x) {
  try {
    const Json json = parse_json(x->request().body);
    Fields body(json, "");
    const Json& tokens = body.need_array("tokens");
    if (int64_t(tokens.size()) > server.model().context) fail_field("tokens", "at most {}, not {}", server.model().context, tokens.size());
    std::vector<int32_t> ids;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (!tokens[i].is_number_integer()) fail_field(at("tokens", i), "must be a token id, not {}", json_type(tokens[i]));
      const int64_t id = tokens[i].get<int64_t>();
      if (id < 0 || id >= server.model().vocabulary) fail_field(at("tokens", i), "{} is not a token id (0 to {})", id, server.model().vocabulary - 1);
      ids.push_back(int32_t(id));
    }
    x->respond(200, dump({{"prompt", server.engine().detokenize(ids)}}));
  } catch (...) {
    respond_error(x, std::current_exception(), openai_error);
  }
}

void health(ServerState&, std::shared_ptr<Exchange> x) { x->respond(200, R"({"status":"ok"})"); }

void ready(ServerState& server, std::shared_ptr<Exchange> x) {
  const bool yes = !server.draining;
  x->respond(yes ? 200 : 503, yes ? R"({"status":"ready"})" : R"({"status":"shutting down"})");
}

void version(ServerState& server, std::shared_ptr<Exchange> x) {
  x->respond(200, dump({{"version", VL8_VERSION}, {"model", server.model().names.front()}}));
}

void page(ServerState&, std::shared_ptr<Exchange> x) {
  const auto asset = web_asset(x->request().path);
  check(asset.has_value(), "no such file of the page: {}", x->request().path);
  HttpHeaders headers = {{"etag", asset->etag}, {"cache-control", "no-cache"}, {"x-content-type-options", "nosniff"}, {"referrer-policy", "no-referrer"},
                         {"content-security-policy", std::string(web_content_security_policy())}};
  if (x->request().header("if-none-match") == asset->etag) return x->respond(304, "", std::string(asset->content_type), std::move(headers));
  x->respond(200, std::string(asset->bytes), std::string(asset->content_type), std::move(headers));
}

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", Access::key, true, generate<kChatDialect>},
    {"POST", "/v1/completions", Access::key, true, generate<kCompletionsDialect>},
    {"POST", "/v1/messages", Access::key, true, generate<kAnthropicDialect>},
    {"POST", "/v1/messages/count_tokens", Access::key, true, start_count_tokens},
    {"POST", "/v1/responses", Access::key, true, generate<kResponsesDialect>},
    {"POST", "/v1/embeddings", Access::key, true, start_embeddings},
    {"GET", "/v1/models", Access::key, false, list_models},
    {"GET", "/v1/models/*", Access::key, false, one_model},
    {"POST", "/v1/sessions", Access::key, true, start_session_request},
    {"GET", "/v1/sessions", Access::key, false, start_session_request},
    {"GET", "/v1/sessions/*", Access::key, false, start_session_request},
    {"POST", "/v1/sessions/*", Access::key, true, start_session_request},
    {"PATCH", "/v1/sessions/*", Access::key, true, start_session_request},
    {"DELETE", "/v1/sessions/*", Access::key, false, start_session_request},
    {"POST", "/tokenize", Access::key, true, start_tokenize},
    {"POST", "/detokenize", Access::key, false, detokenize},
    {"GET", "/", Access::open, false, page},
    {"GET", "/index.html", Access::open, false, page},
    {"GET", "/style.css", Access::open, false, page},
    {"GET", "/text.js", Access::open, false, page},
    {"GET", "/answer.js", Access::open, false, page},
    {"GET", "/app.js", Access::open, false, page},
    {"GET", "/health", Access::open, false, health},
    {"GET", "/ready", Access::open, false, ready},
    {"GET", "/version", Access::open, false, version},
    {"GET", "/metrics", Access::metrics, false, nullptr},  // needs the sockets' counters: ApiServer answers itself
};

bool matches(const Route& r, std::string_view path) {
  const std::string_view pattern = r.path;
  if (pattern.ends_with('*')) return path.size() > pattern.size() - 1 && path.starts_with(pattern.substr(0, pattern.size() - 1));
  return path == pattern;
}

bool is_anthropic(const HttpRequest& r) { return r.path.starts_with("/v1/messages"); }

// Bearer as OpenAI's clients send it, x-api-key as Anthropic's do.
std::string_view presented_key(const HttpRequest& r) {
  std::string_view h = r.header("authorization");
  if (h.size() > 7 && (h.starts_with("Bearer ") || h.starts_with("bearer "))) return h.substr(7);
  return r.header("x-api-key");
}

}  // namespace

struct ApiServer::Impl {
  Impl(std::unique_ptr<Service> service, Options o)
      : options(std::move(o)),
        log(options.config.log_format == "json"),
        http(options.config.host, options.config.port, tls_files(options.config), options.config.http,
             {[this](const HttpRequest& r, HttpHeaders& extra) { return admit(r, extra); }, [this](std::shared_ptr<Exchange> x) { handle(std::move(x)); },
              [](const HttpRequest& r, const ApiError& e) { return dump(is_anthropic(r) ? anthropic_error(e) : openai_error(e)); }}),
        state(std::move(service), options.config, options.folder_name) {}

  static std::optional<TlsFiles> tls_files(const ServerConfig& c) {
    if (c.tls_certificate.empty()) return std::nullopt;
    return TlsFiles{c.tls_certificate, c.tls_key};
  }

  Options options;
  AccessLog log;
  HttpServer http;    // before state: what the engine still sends while it ends needs the sockets' thread
  ServerState state;
  std::thread drainer;

  std::optional<ApiError> admit(const HttpRequest& r, HttpHeaders& extra);
  std::optional<ApiError> check_origin(const HttpRequest& r, const ServerConfig& c, HttpHeaders& extra) const;
  void handle(std::shared_ptr<Exchange> x);
  void metrics(std::shared_ptr<Exchange> x);
  void on_signal(int signal);
  void reload();
  void begin_drain();
};

// A browser says which page a request comes from. Pages of other origins are refused unless they are allowed: also those that
// need no preflight, so that no web page can make a server without keys work. "null" is what a sandboxed frame of any site sends.
std::optional<ApiError> ApiServer::Impl::check_origin(const HttpRequest& r, const ServerConfig& c, HttpHeaders& extra) const {
  const std::string_view origin = r.header("origin");
  if (origin.empty()) return std::nullopt;
  const size_t scheme = origin.find("://");
  if (scheme != std::string_view::npos && origin.substr(scheme + 3) == r.header("host")) return std::nullopt;  // our own page
  bool allowed = false, any = false;
  for (const std::string& o : c.cors_origins) any |= o == "*", allowed |= o == origin;
  if (!allowed && !any) return ApiError(403, "permission_error", "web pages of this origin may not call this server; auth.cors_origin would allow it", {}, "origin_not_allowed");
  extra.emplace_back("access-control-allow-origin", allowed ? std::string(origin) : "*");
  extra.emplace_back("vary", "origin");
  extra.emplace_back("access-control-expose-headers", "x-request-id, retry-after");
  return std::nullopt;
}

std::optional<ApiError> ApiServer::Impl::admit(const HttpRequest& r, HttpHeaders& extra) {
  const auto config = state.config();
  if (const std::string_view trace = valid_traceparent(r.header("traceparent")); !trace.empty()) extra.emplace_back("traceparent", std::string(trace));
  if (auto fault = check_origin(r, *config, extra)) return fault;
  const Route* route = nullptr;
  bool other_method = false;
  const std::string_view method = r.method == "HEAD" ? "GET" : std::string_view(r.method);
  for (const Route& candidate : kRoutes) {
    if (!matches(candidate, r.path)) continue;
    if (method == candidate.method) route = &candidate;
    else other_method = true;
  }
  if (r.method == "OPTIONS" && other_method) return std::nullopt;  // handle() answers
  if (!route) {
    if (other_method) return ApiError(405, "invalid_request_error", fmt::format("{} does not answer to {}", r.path, r.method.substr(0, 20)), {}, "method_not_allowed");
    return ApiError(404, "invalid_request_error", fmt::format("there is no {} here", r.path.substr(0, 200)), {}, "not_found");
  }
  const bool needs_key = route->access == Access::key || (route->access == Access::metrics && !config->open_metrics);
  if (needs_key && state.keys.required() && !state.keys.accepts(presented_key(r)))
    return ApiError(401, "invalid_request_error", presented_key(r).empty() ? "an API key is needed: Authorization: Bearer KEY" : "the API key is not valid", {}, "invalid_api_key");
  if (route->works && state.draining) return unavailable("the server is shutting down", 5);
  return std::nullopt;
}

void ApiServer::Impl::handle(std::shared_ptr<Exchange> x) {
  const auto begun = std::chrono::steady_clock::now();
  x->on_over([this, x = x.get(), begun](int status, size_t bytes, bool abandoned) {
    ++state.counters.responses[size_t(std::clamp(status / 100, 0, 5))];
    log.write(*x, status, bytes, abandoned, begun);
  });
  const HttpRequest& r = x->request();
  if (state.draining) x->close_after();
  if (r.method == "OPTIONS")
    return x->respond(204, "", "", {{"access-control-allow-methods", "GET, POST, PATCH, DELETE"}, {"access-control-allow-headers", "authorization, content-type, x-api-key, x-request-id, anthropic-version, traceparent"}, {"access-control-max-age", "600"}});
  for (const Route& route : kRoutes)
    if (matches(route, r.path) && (r.method == route.method || (r.method == "HEAD" && std::string_view(route.method) == "GET"))) {
      if (!route.handle) return metrics(std::move(x));
      return route.handle(state, std::move(x));
    }
}

void ApiServer::Impl::metrics(std::shared_ptr<Exchange> x) {
  const ServiceStats stats = state.service().stats();
  x->respond(200, metrics_text({stats, state.counters, http.counters(), state.decoders.counters(), state.model().names.front(), !state.draining}), "text/plain; version=0.0.4; charset=utf-8");
}

void ApiServer::Impl::reload() {
  if (!options.load_config) return;
  try {
    state.reload(options.load_config());
    http.set_limits(state.config()->http);
    http.reload_tls();
    spdlog::info("configuration reloaded; {} API keys", state.keys.size());
  } catch (const std::exception& e) {
    spdlog::error("configuration not reloaded, the old one stays in force: {}", e.what());
  }
}

void ApiServer::Impl::begin_drain() {
  if (state.draining.exchange(true)) return;
  const double seconds = state.config()->drain_s;
  spdlog::info("shutting down: running answers have {} seconds", seconds);
  drainer = std::thread([this, seconds] {
    const bool all = state.service().drain(std::chrono::milliseconds(int64_t(seconds * 1000)));
    if (!all) spdlog::warn("some answers were not finished in time and have been cut off");
    http.post([this] { http.after(0.2, [this] { http.stop(); }); });  // the last events are on their way to the sockets
  });
}

void ApiServer::Impl::on_signal(int signal) {
  if (signal == SIGHUP) return reload();
  if (state.draining) {
    spdlog::warn("second signal: stopping at once");
    _exit(130);
  }
  begin_drain();
}

ApiServer::ApiServer(std::unique_ptr<Service> service, Options options) : impl_(std::make_unique<Impl>(std::move(service), std::move(options))) {}
ApiServer::~ApiServer() {
  if (impl_->drainer.joinable()) impl_->drainer.join();
}

int ApiServer::port() const { return impl_->http.port(); }
ServerState& ApiServer::state() { return impl_->state; }
void ApiServer::stop() { impl_->http.stop(); }
void ApiServer::shutdown() {
  impl_->http.post([i = impl_.get()] { i->begin_drain(); });
}
void ApiServer::run() {
  if (impl_->options.handle_signals) impl_->http.on_signal([i = impl_.get()](int s) { i->on_signal(s); });
  impl_->http.run();
}

}  // namespace vl8

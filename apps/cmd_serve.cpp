// vl8 serve: the HTTP server.
#include <cstdio>

#include "core/env.h"
#include "core/log.h"
#include "options.h"
#include "server/access_log.h"
#include "server/api_server.h"

namespace vl8 {
namespace {

struct ServeOptions {
  CLI::App* app = nullptr;
  ModelOptions model;
  ServerConfig flags;  // what the command line says; only settings that were given count
  ServiceOptions service;
  std::string config_file;
  bool check = false;

  // Defaults, then the file, then the flags.
  ServerConfig load() const {
    ServerConfig c;
    if (!config_file.empty()) read_config_file(config_file, c);
    ServerConfig given = flags;
    for (const SettingRow& row : setting_rows())
      if (app->count(setting_flag(row)) > 0) copy_setting(row, given, c);
    c.validate();
    return c;
  }
};

void add_settings(CLI::App& app, ServerConfig& config) {
  for (const SettingRow& row : setting_rows())
    std::visit([&](auto* field) {
      using F = std::remove_pointer_t<decltype(field)>;
      CLI::Option* option = nullptr;
      if constexpr (std::is_same_v<F, bool>) option = app.add_flag(setting_flag(row) + ",!--no-" + setting_flag(row).substr(2), *field, row.help);
      else option = app.add_option(setting_flag(row), *field, row.help);
      if constexpr (std::is_same_v<F, std::vector<std::string>>) option->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
      else option->capture_default_str();
    }, row.target(config));
}

void announce(const ServerConfig& c, int port, const Engine& engine) {
  const bool v6 = c.host.find(':') != std::string::npos;
  fmt::print("ready: http{}://{}{}{}:{}/v1 ({})\n", c.tls_certificate.empty() ? "" : "s", v6 ? "[" : "", c.host, v6 ? "]" : "", port, engine.ops_name());
  std::fflush(stdout);
}

void warn_if_open(const ServerConfig& c) {
  const bool local = c.host == "127.0.0.1" || c.host == "::1" || c.host == "localhost";
  if (!local && c.api_key_file.empty()) spdlog::warn("listening on {} without API keys: everyone who reaches this address may use the model (--api-key-file)", c.host);
  if (!local && !c.api_key_file.empty() && c.tls_certificate.empty()) spdlog::warn("API keys cross the network unencrypted without --tls-certificate (or a proxy that adds TLS)");
}

int serve(const ServeOptions& o) {
  if (!env("VL8_LOG")) spdlog::set_level(spdlog::level::info);
  const ServerConfig config = o.load();
  set_log_format(config.log_format == "json");
  const auto folder = std::filesystem::canonical(o.model.folder());
  EngineOptions options = o.model.engine();
  ServiceOptions batching = o.service;
  batching.batch_invariant = options.batch_invariant;
  // Dense models are routed to kernels that fit their rows, which costs less than kernels that take any batch alike; then
  // answers are those of `vl8 run`. Experts need the latter, and `vl8 run --batch-invariant` to compare.
  if (load_model_config(folder).text.experts == 0) options.batch_invariant = false;
  auto engine = Engine::load(folder, options);
  const double load_ms = engine->load_ms();
  if (o.check) {
    ApiKeys keys;
    if (!config.api_key_file.empty()) keys.load(config.api_key_file);
    fmt::print("configuration and model are usable: {}, {} API keys\n", folder.string(), keys.size());
    return 0;
  }
  auto service = Service::start(std::move(engine), batching);
  ApiServer server(std::move(service), {config, folder.filename().string(), [&o] { return o.load(); }, true});
  warn_if_open(config);
  spdlog::info("{} loaded in {:.2f} s, context {}", folder.string(), load_ms / 1000, server.state().engine().max_context());
  announce(config, server.port(), server.state().engine());
  server.run();
  spdlog::info("stopped");
  return 0;
}

}  // namespace

CommandBody setup_serve(CLI::App& app) {
  auto o = std::make_shared<ServeOptions>();
  o->app = &app;
  app.add_option("-c,--config", o->config_file, "TOML file of settings; flags win over it, SIGHUP reads it again");
  app.add_flag("--check", o->check, "load configuration, keys and model, say whether they are usable, and end");
  add_settings(app, o->flags);
  app.add_option("--max-running", o->service.max_running, "requests whose tokens are computed together")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--kv-bytes", o->service.kv_bytes, "memory for keys and values (default: by --max-running and what is free)")->check(CLI::NonNegativeNumber);
  app.add_option("--step-tokens", o->service.step_tokens, "most tokens of one step of the engine")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_flag("--prefix-cache,!--no-prefix-cache", o->service.prefix_cache, "keep keys and values of prompts for later ones with the same beginning")->capture_default_str();
  o->model.add_to(app);
  app.footer(
      "Endpoints: /v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/embeddings /v1/models /tokenize /detokenize\n"
      "           /health /ready /metrics /version\n"
      "In the TOML file settings are grouped: [limits] max_images = 8, [media] allow_media_host = [\"images.example.com\"], [auth] api_key_file = \"keys\".\n"
      "SIGTERM finishes running answers and ends; SIGHUP reads settings, keys and certificates again.\n"
      "Examples:\n"
      "  vl8 serve -m Qwen3-VL-8B-Instruct-FP8 --port 8000\n"
      "  vl8 serve --host 0.0.0.0 --api-key-file keys --tls-certificate cert.pem --tls-key key.pem\n"
      "  curl http://127.0.0.1:8000/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'");
  return [o] { return serve(*o); };
}

}  // namespace vl8

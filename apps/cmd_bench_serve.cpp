// vl8 bench serve: load on a running server.
#include "bench_load.h"
#include "command.h"
#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {

struct Options {
  LoadOptions load;
  std::string url = "http://127.0.0.1:8000", key_file;
  bool json = false;
};

int bench_serve(Options o) {
  if (!o.url.starts_with("http://")) fail_usage("--url is '{}'; http://HOST:PORT is needed", o.url);
  std::string authority = o.url.substr(7);
  authority.resize(std::min(authority.size(), authority.find('/')));
  const size_t colon = authority.rfind(':');
  o.load.host = authority.substr(0, colon);
  o.load.port = colon == std::string::npos ? 80 : std::atoi(authority.c_str() + colon + 1);
  if (!o.key_file.empty()) {
    o.load.api_key = read_file(o.key_file, 4096);
    o.load.api_key.resize(std::min(o.load.api_key.size(), o.load.api_key.find_first_of("\r\n")));
  }
  const LoadReport report = run_load(o.load);
  fmt::print("{}", o.json ? report.json().dump() + "\n" : report.text());
  return report.json()["failed"].get<int64_t>() == 0 ? 0 : 1;
}

}  // namespace

CommandBody setup_bench_serve(CLI::App& app) {
  auto o = std::make_shared<Options>();
  LoadOptions& l = o->load;
  app.add_option("--url", o->url, "the server; loopback only")->capture_default_str();
  app.add_option("--api-key-file", o->key_file, "file whose first line is the API key");
  app.add_option("--model", l.model, "model name in requests")->capture_default_str();
  app.add_option("--requests", l.requests, "requests in all (with --duration: at most)")->check(CLI::Range(1, 10000000))->capture_default_str();
  app.add_option("--duration", l.duration_s, "seconds after which no request is begun")->check(CLI::NonNegativeNumber);
  app.add_option("--concurrency", l.concurrency, "clients at once")->check(CLI::Range(1, 16384))->capture_default_str();
  app.add_option("--rate", l.rate, "requests a second, at random times (default: as fast as the clients can)")->check(CLI::NonNegativeNumber);
  app.add_option("--burst", l.burst, "requests that arrive together, with --rate")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--prompt-words", l.prompt_words, "words of the question")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--answer-tokens", l.answer_tokens, "tokens of each answer")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--shared-prefix", l.shared_prefix, "share of requests with one of four common system prompts")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--prefix-words", l.prefix_words, "words of these")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--images", l.images, "share of requests with a picture")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--image-size", l.image_size, "of the pictures")->capture_default_str();
  app.add_option("--image-pool", l.image_pool, "different pictures")->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--disconnect", l.disconnect, "share of clients that leave in the middle of their answer")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--malformed", l.malformed, "share of requests that are broken on purpose; they must get a 4xx answer")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  app.add_option("--seed", l.seed, "the same seed sends the same requests")->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object");
  app.footer(
      "Exit code 1 where a request failed that was neither broken nor left on purpose.\n"
      "Examples:\n"
      "  vl8 bench serve --requests 256 --concurrency 16 --answer-tokens 64\n"
      "  vl8 bench serve --rate 20 --burst 4 --images 0.3 --shared-prefix 0.5 --duration 60 --requests 100000 --json");
  return [o] { return bench_serve(*o); };
}

}  // namespace vl8

#include "bench_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "core/error.h"
#include "media/draw.h"
#include "server/media_source.h"

namespace vl8 {
namespace {

using Json = nlohmann::ordered_json;

std::string words(std::mt19937_64& random, int64_t n) {
  static constexpr const char* kWords[] = {"block", "screw", "board", "green", "left", "missing", "count", "label", "chart", "value", "lamp", "second", "upper", "state", "which", "where"};
  std::string out;
  for (int64_t i = 0; i < n; ++i) {
    if (i) out += ' ';
    out += kWords[random() % std::size(kWords)];
  }
  return out;
}

// Smooth colours with a few rectangles: compresses like a rendered picture, and no two are equal.
std::string random_picture(std::mt19937_64& random, int width, int height) {
  Image image(width, height);
  const int a = int(random() % 200), b = int(random() % 200), c = int(random() % 200);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      uint8_t* p = image.row(y) + 3 * x;
      p[0] = uint8_t(a + 50 * x / width), p[1] = uint8_t(b + 50 * y / height), p[2] = uint8_t(c);
    }
  for (int r = 0; r < 6; ++r) {
    const int x0 = int(random() % uint64_t(width)), y0 = int(random() % uint64_t(height)), w = width / 8, h = height / 8;
    for (int y = y0; y < std::min(height, y0 + h); ++y)
      for (int x = x0; x < std::min(width, x0 + w); ++x) image.row(y)[3 * x + r % 3] = 255;
  }
  return "data:image/png;base64," + base64_encode(encode_png(image));
}

double percentile(std::vector<double>& v, double p) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v[std::min(v.size() - 1, size_t(p * double(v.size())))];
}

Json spread(std::vector<double> v) {
  const double mean = v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / double(v.size());
  auto r = [](double x) { return std::round(x * 100) / 100; };
  return {{"mean", r(mean)}, {"p50", r(percentile(v, 0.5))}, {"p90", r(percentile(v, 0.9))}, {"p99", r(percentile(v, 0.99))}, {"max", r(v.empty() ? 0 : v.back())}};
}

}  // namespace

Workload::Workload(const LoadOptions& o) : o_(o) {
  std::mt19937_64 random(o.seed);
  for (int i = 0; i < 4; ++i) prefixes_.push_back(words(random, o.prefix_words));
  int width = 0, height = 0;
  if (std::sscanf(o.image_size.c_str(), "%dx%d", &width, &height) != 2 || width < 8 || height < 8 || width > 8192 || height > 8192)
    fail_usage("--image-size is '{}', not WIDTHxHEIGHT", o.image_size);
  if (o.images > 0)
    for (int i = 0; i < o.image_pool; ++i) images_.push_back(random_picture(random, width, height));
  double t = 0;
  for (int64_t i = 0; i < o.requests; ++i) {
    if (o.rate > 0 && i > 0 && i % o.burst == 0) t += std::exponential_distribution<double>(o.rate / o.burst)(random);
    arrivals_.push_back(t);
  }
}

std::string Workload::malformed_body(uint64_t random) const {
  static constexpr const char* kBodies[] = {
      "", "{", "[]", "nul", "{\"messages\":", "{\"messages\":[]}", "{\"messages\":[{\"role\":\"user\"}]}", "{\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}", "\xff\xfe\x00\x01",
      "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"temperature\":9}", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":-1}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"http://169.254.169.254/\"}}]}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:///etc/passwd\"}}]}]}",
      "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":1e30}", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"logit_bias\":{\"-1\":1}}"};
  if (random % 8 == 0) return std::string(200 + random % 5000, '[');
  std::string body = kBodies[random % std::size(kBodies)];
  if (random % 3 == 0 && !body.empty()) body[(random >> 8) % body.size()] = char(random >> 16);
  return body;
}

PlannedRequest Workload::request(int64_t index) const {
  std::mt19937_64 random(o_.seed * 0x9e3779b97f4a7c15ull + uint64_t(index));
  auto chance = [&](double share) { return double(random() >> 11) * 0x1p-53 < share; };
  PlannedRequest p;
  p.at_s = arrivals_[size_t(index)];
  if (chance(o_.malformed)) {
    p.malformed = true;
    p.body = malformed_body(random());
    return p;
  }
  Json messages = Json::array();
  if (chance(o_.shared_prefix)) messages.push_back({{"role", "system"}, {"content", prefixes_[random() % prefixes_.size()]}});
  Json content = Json::array();
  if (chance(o_.images)) content.push_back({{"type", "image_url"}, {"image_url", {{"url", images_[random() % images_.size()]}}}});
  content.push_back({{"type", "text"}, {"text", fmt::format("{} {}", index, words(random, o_.prompt_words))}});
  messages.push_back({{"role", "user"}, {"content", std::move(content)}});
  p.body = Json{{"model", o_.model}, {"messages", std::move(messages)}, {"max_tokens", o_.answer_tokens}, {"temperature", 0.8}, {"seed", index},
                {"ignore_eos", true}, {"stream", true}, {"stream_options", {{"include_usage", true}}}}.dump();
  if (chance(o_.disconnect)) p.leave_after = double(random() >> 11) * 0x1p-53;
  return p;
}

Json LoadReport::json() const {
  std::vector<double> first, total, gaps;
  int64_t ok = 0, left = 0, malformed = 0, failed = 0, tokens = 0, prompt = 0;
  std::map<std::string, int64_t> errors;
  for (const RequestResult& r : results) {
    malformed += r.malformed;
    if (!r.error.empty()) ++errors[r.error], ++failed;
    tokens += r.tokens, prompt += r.prompt_tokens;
    left += r.left;
    if (r.malformed || !r.error.empty()) continue;
    if (r.first_ms > 0) first.push_back(r.first_ms);
    gaps.insert(gaps.end(), r.gaps_ms.begin(), r.gaps_ms.end());
    if (r.ok && !r.left) ++ok, total.push_back(r.total_ms);
  }
  Json e = Json::object();
  for (const auto& [what, count] : errors) e[what] = count;
  auto per_s = [&](double n) { return wall_s > 0 ? std::round(n / wall_s * 100) / 100 : 0; };
  return {{"wall_s", std::round(wall_s * 1000) / 1000}, {"requests", results.size()}, {"ok", ok}, {"left", left}, {"malformed", malformed}, {"failed", failed},
          {"answer_tokens", tokens}, {"prompt_tokens", prompt}, {"requests_per_s", per_s(double(ok))}, {"answer_tokens_per_s", per_s(double(tokens))},
          {"first_token_ms", spread(first)}, {"inter_token_ms", spread(gaps)}, {"request_ms", spread(total)}, {"errors", std::move(e)}};
}

std::string LoadReport::text() const {
  const Json j = json();
  auto row = [&](const char* name, const char* key) {
    const Json& s = j[key];
    return fmt::format("{:<16} mean {:>9.2f}  p50 {:>9.2f}  p90 {:>9.2f}  p99 {:>9.2f}  max {:>9.2f} ms\n", name, s["mean"].get<double>(), s["p50"].get<double>(), s["p90"].get<double>(),
                       s["p99"].get<double>(), s["max"].get<double>());
  };
  std::string out = fmt::format("{} requests in {:.2f} s: {} answered, {} left early, {} malformed on purpose, {} failed\n{:.2f} requests/s, {:.1f} answer tokens/s\n", results.size(), wall_s,
                                j["ok"].get<int64_t>(), j["left"].get<int64_t>(), j["malformed"].get<int64_t>(), j["failed"].get<int64_t>(), j["requests_per_s"].get<double>(),
                                j["answer_tokens_per_s"].get<double>());
  out += row("first token", "first_token_ms") + row("between tokens", "inter_token_ms") + row("request", "request_ms");
  for (const auto& [what, count] : j["errors"].items()) out += fmt::format("error: {} x {}\n", what, count.get<int64_t>());
  return out;
}

}  // namespace vl8

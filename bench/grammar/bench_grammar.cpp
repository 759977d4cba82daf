// Structured output on a real vocabulary: time to compile, and to make the mask of each token of random answers, the first time a
// grammar is used (cold: states and masks are made) and when it was used before (warm).
//
//   bench_grammar [TOKENIZER.json or model folder] [answers]
//
// Answers are random: any of the allowed tokens, inside strings a closing one a quarter of the time.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "core/error.h"
#include "grammar/structured_output.h"

namespace vl8 {
namespace {

using Clock = std::chrono::steady_clock;
double us_since(Clock::time_point t) { return std::chrono::duration<double, std::micro>(Clock::now() - t).count(); }

struct Case {
  const char* name;
  OutputFormat format;
};

std::string wide_schema() {  // 60 properties, half of them optional, enumerations of 50
  nlohmann::ordered_json p = nlohmann::ordered_json::object(), required = nlohmann::ordered_json::array();
  for (int i = 0; i < 60; ++i) {
    const std::string name = fmt::format("field_{}", i);
    nlohmann::ordered_json e = nlohmann::ordered_json::array();
    for (int k = 0; k < 50; ++k) e.push_back(fmt::format("value {} of {}", k, i));
    p[name] = i % 3 == 0 ? nlohmann::ordered_json{{"enum", e}} : i % 3 == 1 ? nlohmann::ordered_json{{"type", "string"}, {"maxLength", 200}} : nlohmann::ordered_json{{"type", "number"}, {"minimum", 0}};
    if (i % 2) required.push_back(name);
  }
  return nlohmann::ordered_json{{"type", "object"}, {"properties", p}, {"required", required}, {"additionalProperties", false}}.dump();
}

std::vector<Case> cases() {
  return {
      {"boxes", {OutputKind::json_schema, R"({"type":"array","items":{"type":"object","properties":{"bbox_2d":{"type":"array","items":{"type":"integer","minimum":0,"maximum":1000},"minItems":4,"maxItems":4},"label":{"type":"string","maxLength":40}},"required":["bbox_2d","label"],"additionalProperties":false},"maxItems":50})"}},
      {"invoice", {OutputKind::json_schema, R"({"type":"object","properties":{"number":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{4,8}$"},"date":{"type":"string","format":"date"},"currency":{"enum":["EUR","USD","CNY"]},"customer":{"type":"object","properties":{"name":{"type":"string"},"email":{"type":"string","format":"email"}},"required":["name","email"],"additionalProperties":false},"lines":{"type":"array","minItems":1,"items":{"type":"object","properties":{"text":{"type":"string","maxLength":200},"count":{"type":"integer","minimum":1},"price":{"type":"number","minimum":0}},"required":["text","count","price"],"additionalProperties":false}},"paid":{"type":"boolean"},"note":{"type":["string","null"]}},"required":["number","date","currency","customer","lines","paid","note"],"additionalProperties":false})"}},
      {"recursive", {OutputKind::json_schema, R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["name","children"],"additionalProperties":false}}})"}},
      {"wide", {OutputKind::json_schema, wide_schema()}},
      {"json_object", {OutputKind::json_object, ""}},
      {"regex", {OutputKind::regex, "(yes|no|unclear)( because [^\\n]{10,400})?"}},
      {"grammar", {OutputKind::grammar, "root ::= item (\"\\n\" item)*\nitem ::= \"- \" [^\\n]{1,80} (\"\\n  \" item)?"}},
  };
}

// The beginning of one answer, at most 150 tokens; adds the microseconds of every mask and of every accept.
void answer(CompiledGrammar& g, TokenId end, std::mt19937& random, std::vector<double>& masks, std::vector<double>& accepts) {
  auto c = g.start({end});
  c->set_budget(4096);
  const auto& v = g.vocabulary();
  std::vector<uint32_t> bits(v.words());
  std::vector<int32_t> allowed, closing;
  for (int n = 0; n < 150; ++n) {
    auto t = Clock::now();
    c->fill_mask(bits);
    masks.push_back(us_since(t));
    allowed.clear();
    closing.clear();
    for (size_t w = 0; w < bits.size(); ++w)
      for (uint32_t b = bits[w]; b; b &= b - 1) {
        allowed.push_back(int32_t(w * 32) + __builtin_ctz(b));
        if (v.spelling(allowed.back()).find('"') != std::string_view::npos) closing.push_back(allowed.back());
      }
    // Texts of a few tokens, as people have them: of all tokens inside a string few would close it.
    const auto& from = !closing.empty() && random() % 4 == 0 ? closing : allowed;
    int32_t token = from[random() % from.size()];
    if (c->can_end() && random() % 4 == 0) token = end;
    t = Clock::now();
    c->accept(token);
    accepts.push_back(us_since(t));
    if (token == end) return;
  }
}

double share(std::vector<double>& v, double q) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[std::min(v.size() - 1, size_t(double(v.size()) * q))];
}

int run(const std::string& path, int answers) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  auto t = Clock::now();
  StructuredOutput structured(tokenizer);
  fmt::print("{}: {} ids, tries in {:.1f} ms\n", path, tokenizer.id_limit(), us_since(t) / 1000);
  fmt::print("{:12} {:>10} {:>22} {:>10} {:>22} {:>10} {:>9} {:>8}\n", "grammar", "compile", "cold mask us p50/p99", "max", "warm mask us p50/p99", "max", "accept us", "tokens");
  const TokenId end = tokenizer.find_added("<|im_end|>").value_or(tokenizer.id_limit() - 1);
  for (const Case& c : cases()) {
    std::vector<double> compiles;
    std::vector<double> cold, warm, accepts;
    for (int i = 0; i < 5; ++i) {
      StructuredOutput fresh(structured);
      t = Clock::now();
      auto g = fresh.compile(c.format);
      compiles.push_back(us_since(t));
      std::mt19937 random(unsigned(i) + 1);
      answer(*g, end, random, cold, accepts);
      if (i < 4) continue;
      for (int k = 0; k < answers; ++k) answer(*g, end, random, k < answers / 2 ? accepts : warm, accepts);
    }
    const size_t tokens = cold.size() + warm.size();
    const double top_cold = share(cold, 1), top_warm = share(warm, 1);
    fmt::print("{:12} {:>7.2f} ms {:>12.1f} / {:>7.1f} {:>10.0f} {:>12.1f} / {:>7.1f} {:>10.0f} {:>9.2f} {:>8}\n", c.name, share(compiles, 0.5) / 1000,
               share(cold, 0.5), share(cold, 0.99), top_cold, share(warm, 0.5), share(warm, 0.99), top_warm, share(accepts, 0.5), tokens);
  }
  return 0;
}

}  // namespace
}  // namespace vl8

int main(int argc, char** argv) {
  try {
    const std::string path = argc > 1 ? argv[1] : std::string(VL8_SOURCE_DIR) + "/../shared/qwen3-vl/tokenizer.json";
    return vl8::run(path, argc > 2 ? std::atoi(argv[2]) : 40);
  } catch (const vl8::Error& e) {
    fmt::print(stderr, "bench_grammar: {}\n", e.what());
    return 1;
  }
}

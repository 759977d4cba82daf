// Schemas, patterns and grammars: compiled, then a random answer is taken within a small budget, in which no mask may be empty.
#include "fuzz.h"
#include "grammar/compiled_grammar.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace {

using namespace vl8;

const std::shared_ptr<const TokenVocabulary>& vocabulary() {
  static const auto v = [] {
    std::vector<std::pair<TokenId, std::string>> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(b, std::string(1, char(b)));
    for (const char* t : {"{\"", "\": ", "\",", "}}", "ab", "true", "null", "\\u", "12", "\xE4\xB8", "é"}) tokens.emplace_back(TokenId(tokens.size()), t);
    return std::make_shared<const TokenVocabulary>(tokens, std::vector<TokenId>{TokenId(tokens.size())}, "fuzz");
  }();
  return v;
}

Grammar read(uint8_t kind, std::string_view text, const GrammarLimits& limits) {
  switch (kind % 4) {
    case 0: return parse_json_schema(text, JsonSpacing(kind / 4 % 3), limits);
    case 1: return parse_gbnf(text, limits);
    default: {
      Grammar g;
      g.add("regex", parse_regex(text, kind % 4 == 2 ? RegexMatch::full : RegexMatch::search, limits, "fuzz"));
      return g;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input in(data, size);
  const uint8_t kind = in.byte(), seed = in.byte();
  return fuzz::answer([&] {
    GrammarLimits limits;
    limits.states = 5'000;
    limits.rules = 2'000;
    limits.items = 2'000;
    limits.cache_bytes = size_t(4) << 20;
    auto g = CompiledGrammar::make(read(kind, in.rest(), limits), vocabulary(), limits);
    const TokenId end = vocabulary()->size() - 1;
    auto c = g->start({end});
    c->set_budget(24);
    std::vector<uint32_t> bits(vocabulary()->words());
    uint32_t random = seed * 2654435761u + 1;
    for (int i = 0; i < 24; ++i) {
      c->fill_mask(bits);
      std::vector<TokenId> allowed;
      for (TokenId t = 0; t < vocabulary()->size(); ++t)
        if (bits[size_t(t) / 32] >> (t % 32) & 1) allowed.push_back(t);
      if (allowed.empty()) std::abort();
      random = random * 1664525u + 1013904223u;
      const TokenId t = allowed[(random >> 8) % allowed.size()];
      c->accept(t);
      if (t == end) break;
    }
  });
}

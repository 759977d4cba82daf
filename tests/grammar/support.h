// Vocabularies and helpers of this folder's tests.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "grammar/compiled_grammar.h"
#include "grammar/regex.h"

namespace vl8::test {

// The 256 bytes, `extra` texts, and the last ids: <end>, <call>, </call>.
struct SmallVocabulary {
  explicit SmallVocabulary(std::vector<std::string> extra) {
    std::vector<std::pair<TokenId, std::string>> tokens;
    for (int b = 0; b < 256; ++b) tokens.emplace_back(b, std::string(1, char(b)));
    for (auto& e : extra) tokens.emplace_back(TokenId(tokens.size()), e);
    end = TokenId(tokens.size());
    vocabulary = std::make_shared<TokenVocabulary>(tokens, std::vector<TokenId>{end, end + 1, end + 2}, "test");
  }
  TokenId end;
  TokenId call() const { return end + 1; }
  std::shared_ptr<const TokenVocabulary> vocabulary;
};

inline std::vector<int32_t> allowed_tokens(TokenConstraint& c, const TokenVocabulary& v) {
  std::vector<uint32_t> bits(v.words() + 2, 0xdeadbeef);
  EXPECT_TRUE(c.fill_mask(bits));
  std::vector<int32_t> out;
  for (size_t i = 0; i < bits.size() * 32; ++i)
    if (bits[i / 32] >> (i % 32) & 1) out.push_back(int32_t(i));
  return out;
}

inline Grammar grammar_of(ExprPtr e) {
  Grammar g;
  g.add("test", std::move(e));
  return g;
}

inline Grammar regex_grammar(std::string_view pattern, RegexMatch match = RegexMatch::full) {
  return grammar_of(parse_regex(pattern, match, {}, "test"));
}

}  // namespace vl8::test

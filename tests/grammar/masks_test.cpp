// Masks against the plain reference: a token is allowed exactly where the text with it can be continued to a member.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "reference.h"
#include "support.h"

namespace vl8 {
namespace {

using test::Reference;
using test::SmallVocabulary;

const SmallVocabulary& vocabulary() {
  static const SmallVocabulary v({"ab", "abc", "bb", "aab", "ba", "ccc", "aaaaaaaaaaaaaaaa", "\"a", "a\"", "\"", "\\n", "\\\"", "é", "中", "\xC3",
                                  "\xA9", "\xE4\xB8", "\xAD", "a\xE4", "b\xC3\xA9", ",\"", "{\"", "\n", " a", "((", "))", "()", ")(", "(a", "ab\"c", "cab"});
  return v;
}

// A random grammar in which every part can be completed: rules call later rules freely, earlier ones as an option only.
Grammar random_grammar(std::mt19937& random) {
  auto pick = [&](int n) { return int(random() % unsigned(n)); };
  const int rules = 1 + pick(4);
  auto letter = [&] {
    static const char* const kTexts[] = {"a", "b", "c", "ab", "(", ")", "\"", "é", "中", "\\", "\n"};
    return literal(kTexts[pick(11)]);
  };
  auto set = [&] {
    switch (pick(4)) {
      case 0: return chars(CodePoints::range('a', char32_t('a' + pick(3))), Spelling(pick(2)));
      case 1: return chars(~CodePoints::one('a'), Spelling(pick(2)));
      case 2: return chars(plain_characters(), Spelling(pick(2)));
      default: return chars(CodePoints::all(), Spelling::json);
    }
  };
  std::function<ExprPtr(int, int)> make = [&](int rule, int depth) -> ExprPtr {
    switch (pick(depth > 0 ? 9 : 2)) {
      case 0: return letter();
      case 1: return set();
      case 2: return sequence({make(rule, depth - 1), make(rule, depth - 1)});
      case 3: return choice({make(rule, depth - 1), make(rule, depth - 1), letter()});
      case 4: return repeat(make(rule, depth - 1), pick(3), kUnlimited);
      case 5: return repeat(make(rule, depth - 1), pick(2), 2 + pick(60));
      case 6: return repeat(make(rule, depth - 1), 3, 3 + pick(4));
      case 7: return rule + 1 < rules ? rule_ref(rule + 1 + pick(rules - rule - 1)) : letter();
      default: return optional_of(sequence({pick(2) ? letter() : nothing(), rule_ref(pick(rules)), pick(2) ? letter() : nothing()}));
    }
  };
  Grammar g;
  for (int r = 0; r < rules; ++r) g.add("r" + std::to_string(r), make(r, 3));
  return g;
}

TEST(TokenMasks, EqualThePlainReferenceOnRandomGrammars) {
  std::mt19937 random(std::random_device{}());
  const auto& v = *vocabulary().vocabulary;
  int ends = 0, steps = 0;
  for (int round = 0; round < 60; ++round) {
    const Grammar g = random_grammar(random);
    auto compiled = CompiledGrammar::make(g, vocabulary().vocabulary);
    auto c = compiled->start({vocabulary().end});
    std::string text;
    for (int step = 0; step < 7; ++step) {
      std::vector<int32_t> expected, judged;  // every longer token, and some of the single bytes
      for (int32_t t = 0; t < v.size(); ++t)
        if (t >= 256 || t < 1 || random() % 8 == 0 || (t >= 'a' && t <= 'c')) judged.push_back(t);
      for (int32_t t : judged) {
        if (t == vocabulary().end) {
          if (Reference(g, text).accepts()) expected.push_back(t), ++ends;
        } else if (!v.spelling(t).empty() && Reference(g, text + std::string(v.spelling(t))).is_prefix()) {
          expected.push_back(t);
        }
      }
      const auto got = test::allowed_tokens(*c, v);
      std::vector<int32_t> compared;
      std::set_intersection(got.begin(), got.end(), judged.begin(), judged.end(), std::back_inserter(compared));
      ASSERT_EQ(compared, expected) << "after '" << text << "' in round " << round;
      ASSERT_FALSE(got.empty()) << "a dead end after '" << text << "'";
      const int32_t token = got[random() % got.size()];
      if (token == vocabulary().end) break;
      c->accept(token);
      text += v.spelling(token);
      ++steps;
    }
  }
  EXPECT_GT(ends, 15);
  EXPECT_GT(steps, 80);
}

// Whatever the budget, an answer that fits at all is complete within it.
TEST(TokenMasks, BudgetsAreKept) {
  std::mt19937 random(std::random_device{}());
  const auto& v = *vocabulary().vocabulary;
  for (int round = 0; round < 150; ++round) {
    const Grammar g = random_grammar(random);
    auto compiled = CompiledGrammar::make(g, vocabulary().vocabulary);
    const int64_t shortest = compiled->shortest_bytes();
    if (shortest > 300) continue;
    int64_t budget = shortest + 1 + int64_t(random() % 6);
    auto c = compiled->start({vocabulary().end});
    c->set_budget(budget);
    std::string text;
    for (;; --budget) {
      ASSERT_GT(budget, 0) << "not complete in time: '" << text << "'";
      const auto got = test::allowed_tokens(*c, v);
      ASSERT_FALSE(got.empty());
      const int32_t token = got[random() % got.size()];
      c->accept(token);
      if (token == vocabulary().end) break;
      text += v.spelling(token);
    }
    EXPECT_TRUE(Reference(g, text).accepts()) << text;
  }
}

TEST(TokenMasks, LeftRecursionAndAmbiguity) {
  Grammar g;  // e := e '+' e | '(' e ')' | 'a'
  const int32_t e = g.add("e");
  g.rules[0].body = choice({sequence({rule_ref(e), literal("+"), rule_ref(e)}), sequence({literal("("), rule_ref(e), literal(")")}), literal("a")});
  auto compiled = CompiledGrammar::make(g, vocabulary().vocabulary);
  EXPECT_TRUE(compiled->accepts("a+(a+a)+a"));
  EXPECT_FALSE(compiled->accepts("a+(a+a+a"));
  std::string longer = "a";
  for (int i = 0; i < 300; ++i) longer += "+a";
  EXPECT_TRUE(compiled->accepts(longer));
}

TEST(TokenMasks, ControlTokensOfAGrammar) {
  const auto& v = vocabulary();
  auto compiled = CompiledGrammar::make(test::grammar_of(sequence({token_literal(v.call()), literal("ab")})), v.vocabulary);
  auto c = compiled->start({v.end});
  EXPECT_EQ(test::allowed_tokens(*c, *v.vocabulary), std::vector<int32_t>{v.call()});
  c->accept(v.call());
  EXPECT_THROW(c->accept('b'), Error);
  c->accept('a');
  c->accept('b');
  EXPECT_TRUE(c->must_end());
  EXPECT_EQ(test::allowed_tokens(*c, *v.vocabulary), std::vector<int32_t>{v.end});
}

TEST(TokenMasks, ClonesAreIndependentAndCachesMayOverflow) {
  const auto& v = vocabulary();
  GrammarLimits small;
  small.cache_bytes = 2'000'000;
  auto compiled = CompiledGrammar::make(test::regex_grammar("(a|b|[abc]{3,90}|(ab){2,50})*c"), v.vocabulary, small);
  auto exact = CompiledGrammar::make(test::regex_grammar("(a|b|[abc]{3,90}|(ab){2,50})*c"), v.vocabulary);
  auto c = compiled->start({v.end}), e = exact->start({v.end});
  std::unique_ptr<TokenConstraint> copy;
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    auto got = test::allowed_tokens(*c, *v.vocabulary);
    ASSERT_EQ(got, test::allowed_tokens(*e, *v.vocabulary));
    std::erase(got, v.end);
    const int32_t t = got[random() % got.size()];
    c->accept(t);
    e->accept(t);
    if (i == 100) copy = c->clone();
  }
  EXPECT_FALSE(test::allowed_tokens(*copy, *v.vocabulary).empty());
}

TEST(TokenMasks, HostileGrammarsAreRefusedInBoundedTime) {
  const auto& v = vocabulary();
  GrammarLimits limits;
  limits.items = 200;
  Grammar g;  // s := s s s | 'a' | ''  with counting rules around it
  g.add("s");
  g.rules[0].body = choice({sequence({rule_ref(0), rule_ref(0), rule_ref(0)}), literal("a"), repeat(chars(CodePoints::all()), 1, 5000), nothing()});
  auto compiled = CompiledGrammar::make(g, v.vocabulary, limits);
  EXPECT_THROW(compiled->accepts(std::string(2000, 'a')), Error);

  Grammar dead;  // r := 'a' r has no end
  dead.add("r");
  dead.rules[0].body = sequence({literal("a"), rule_ref(0)});
  EXPECT_THROW(CompiledGrammar::make(dead, v.vocabulary), Error);
  EXPECT_THROW(CompiledGrammar::make(test::grammar_of(never()), v.vocabulary), Error);
}

TEST(TokenVocabulary, NeedsEveryByte) {
  std::vector<std::pair<TokenId, std::string>> tokens;
  for (int b = 0; b < 256; ++b)
    if (b != 'q') tokens.emplace_back(b, std::string(1, char(b)));
  EXPECT_THROW(TokenVocabulary(tokens, {}, "tokenizer.json"), Error);
}

}  // namespace
}  // namespace vl8

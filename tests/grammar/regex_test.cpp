#include "grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "core/error.h"
#include "grammar/char_dfa.h"
#include "support.h"

namespace vl8 {
namespace {

using test::SmallVocabulary;

bool matches(std::string_view pattern, std::string_view text, RegexMatch match = RegexMatch::full) {
  static const SmallVocabulary v({});
  const ExprPtr e = parse_regex(pattern, match, {}, "test");
  const bool by_dfa = CharDfa::of(*e, 100000, "test").accepts(text);
  if (e->kind != Expr::Kind::never) {
    EXPECT_EQ(CompiledGrammar::make(test::grammar_of(e), v.vocabulary)->accepts(text), by_dfa) << pattern << " on " << text;
  }
  return by_dfa;
}

TEST(Regex, Syntax) {
  struct Case {
    const char *pattern, *yes, *no;
  };
  const Case cases[] = {
      {"a|bc", "bc", "ab"}, {"(?:a|b)*c", "ababc", "abab"}, {"[a-c]{2,3}", "abc", "abca"}, {"\\d+\\.\\d{2}", "12.50", "12.5"},
      {"[^a-z]", "Z", "q"}, {"\\w\\s\\S", "a b", "a  "}, {"x{2}", "xx", "x"}, {"x{2,}", "xxxxxx", "x"}, {"a{,3}", "a{,3}", "aa"},
      {"\\u4e2d\\x41", "中A", "中B"}, {"[\\u{1F600}-\\u{1F64F}]", "😀", "x"}, {"\\p{Lu}\\p{Ll}*", "Éa", "éa"}, {".", "é", "\n"},
      {"(?<year>\\d{4})-x", "2026-x", "226-x"}, {"a\\-b\\/c", "a-b/c", "ab"}, {"[-a]", "-", "b"}, {"[a\\]]", "]", "\\"},
      {"(a?){3}b", "aab", "aaaab"}, {"\\p{Script=Han}+", "中文", "ab"}, {"", "", "a"}, {"[\\d-x]+", "4-x", "y"},
  };
  for (const Case& c : cases) {
    EXPECT_TRUE(matches(c.pattern, c.yes)) << c.pattern;
    EXPECT_FALSE(matches(c.pattern, c.no)) << c.pattern;
  }
}

TEST(Regex, SearchAndAnchors) {
  struct Case {
    const char *pattern, *text;
    bool found;
  };
  const Case cases[] = {
      {"b", "abc", true}, {"^b", "abc", false}, {"b$", "ab", true}, {"b$", "abc", false}, {"^abc$", "abc", true}, {"^a|c$", "xc", true},
      {"^a|c$", "xcx", false}, {"^(a|b)$", "b", true}, {"(^a|b$)", "xb", true}, {"^$", "", true}, {"^$", "a", false}, {"", "any", true},
      {"^(?!ab)[a-z]+$", "abc", false}, {"^(?!ab)[a-z]+$", "acb", true}, {"^(?=.*\\d)(?=.*[a-z]).{3,5}$", "a1b", true},
      {"^(?=.*\\d)(?=.*[a-z]).{3,5}$", "abc", false}, {"^(?=.*\\d)(?=.*[a-z]).{3,5}$", "a1bbbb", false},
  };
  for (const Case& c : cases) EXPECT_EQ(matches(c.pattern, c.text, RegexMatch::search), c.found) << c.pattern << " in " << c.text;
}

TEST(Regex, RefusalsNameTheFault) {
  auto message = [](const char* pattern) {
    try {
      parse_regex(pattern, RegexMatch::search, {}, "/properties/a/pattern");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message("(a"), testing::HasSubstr("')' is missing"));
  EXPECT_THAT(message("a)"), testing::HasSubstr("unmatched"));
  EXPECT_THAT(message("*a"), testing::HasSubstr("nothing to repeat"));
  EXPECT_THAT(message("[b-a]"), testing::HasSubstr("out of order"));
  EXPECT_THAT(message("(a)\\1"), testing::HasSubstr("backreferences"));
  EXPECT_THAT(message("a\\b"), testing::HasSubstr("word border"));
  EXPECT_THAT(message("a(?=b)c"), testing::HasSubstr("lookahead"));
  EXPECT_THAT(message("a^b"), testing::HasSubstr("^"));
  EXPECT_THAT(message("[a"), testing::HasSubstr("too early"));
  EXPECT_THAT(message("\\p{Nope}"), testing::HasSubstr("Nope"));
  EXPECT_THAT(message("a{200000}"), testing::HasSubstr("100000"));
  EXPECT_THAT(message("(a"), testing::StartsWith("/properties/a/pattern"));
}

// The standard library's ECMAScript matcher is an independent judge (by backtracking: small repetitions only).
TEST(Regex, AgreesWithTheStandardLibrary) {
  std::mt19937 random(std::random_device{}());
  auto pick = [&](int n) { return int(random() % unsigned(n)); };
  std::function<std::string(int)> make = [&](int depth) -> std::string {
    switch (pick(depth > 0 ? 8 : 3)) {
      case 0: return std::string(1, char('a' + pick(3)));
      case 1: return "[ab]";
      case 2: return "[^a]";
      case 3: return make(depth - 1) + make(depth - 1);
      case 4: return "(?:" + make(depth - 1) + "|" + make(depth - 1) + ")";
      case 5: return "(?:" + make(depth - 1) + ")" + std::string(1, "*+?"[pick(3)]);
      case 6: return "(?:" + make(depth - 1) + "){" + std::to_string(pick(3)) + "," + std::to_string(2 + pick(3)) + "}";
      default: return "(?:" + make(depth - 1) + "){" + std::to_string(pick(4)) + "}";
    }
  };
  const SmallVocabulary v({});
  int yes = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string pattern = make(3);
    const std::regex judge(pattern);
    const ExprPtr e = parse_regex(pattern, RegexMatch::full, {}, "test");
    CharDfa dfa;
    try {
      dfa = CharDfa::of(*e, 20'000, "test");
    } catch (const Error&) {
      continue;  // nested repetitions multiply
    }
    const auto compiled = CompiledGrammar::make(test::grammar_of(e), v.vocabulary);
    for (int j = 0; j < 12; ++j) {
      std::string text;
      for (int n = pick(7); n > 0; --n) text += char('a' + pick(3));
      const bool expected = std::regex_match(text, judge);
      yes += expected;
      ASSERT_EQ(dfa.accepts(text), expected) << pattern << " on '" << text << "'";
      ASSERT_EQ(compiled->accepts(text), expected) << pattern << " on '" << text << "'";
    }
  }
  EXPECT_GT(yes, 50);
}

TEST(CharDfa, IntersectionComplementAndLengths) {
  auto dfa = [](const char* p) { return CharDfa::of(*parse_regex(p, RegexMatch::full, {}, "t"), 1000, "t"); };
  CharDfa both = CharDfa::both(dfa("[a-z]*"), dfa(".{2,4}"), 1000, "t");
  EXPECT_TRUE(both.accepts("abcd"));
  EXPECT_FALSE(both.accepts("abcde"));
  EXPECT_EQ(both.shortest(), 2);
  EXPECT_EQ(both.longest(), 4);
  EXPECT_EQ(dfa("a+").longest(), std::nullopt);
  CharDfa rest = dfa("foo|bar").complement();
  EXPECT_FALSE(rest.accepts("foo"));
  EXPECT_TRUE(rest.accepts("fo"));
  EXPECT_TRUE(rest.accepts("foox"));
  EXPECT_TRUE(CharDfa::both(dfa("a"), dfa("b"), 1000, "t").empty());
  EXPECT_TRUE(CharDfa::both(dfa("a"), dfa("b"), 1000, "t").complement().accepts("xyz"));
  EXPECT_THROW(dfa("(a|b)*a(a|b){20}"), Error);
}

}  // namespace
}  // namespace vl8

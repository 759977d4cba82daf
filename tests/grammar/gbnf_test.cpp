#include "grammar/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "support.h"

namespace vl8 {
namespace {

std::shared_ptr<CompiledGrammar> compile(std::string_view text) {
  static const test::SmallVocabulary v({"move", " e4", "(("});
  return CompiledGrammar::make(parse_gbnf(text, {}), v.vocabulary);
}

TEST(Gbnf, Notation) {
  auto g = compile(R"g(# arithmetic, left recursive
root  ::= expr "\n"
expr  ::= expr [-+] term
        | term
term  ::= factor ([*/] factor)*   # comment
factor ::= "(" expr ")" | number | var{1,2}
number ::= [0-9]+ ("." [0-9]{2,})?
var ::= [a-z\u00e9^-] | "\x41" | "\"" )g");
  EXPECT_TRUE(g->accepts("1+2*(3-x)-ab\n"));
  EXPECT_TRUE(g->accepts("A/é+\"\n"));
  EXPECT_TRUE(g->accepts("1.25\n"));
  EXPECT_FALSE(g->accepts("1.2\n"));
  EXPECT_FALSE(g->accepts("1+\n"));
  EXPECT_FALSE(g->accepts("abc\n"));
  EXPECT_TRUE(compile("start ::= [^a-c] . | \"\"")->accepts("z中"));
  EXPECT_TRUE(compile("root ::= a{0} b{2}\na ::= \"x\"\nb ::= \"y\"")->accepts("yy"));
}

TEST(Gbnf, FaultsAreNamedWithTheirLine) {
  auto message = [](std::string_view text) -> std::string {
    try {
      compile(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  using testing::HasSubstr;
  EXPECT_THAT(message("root ::= \"a\"\nx := y"), HasSubstr("line 2"));
  EXPECT_THAT(message("root ::= a\n"), HasSubstr("'a' is not defined"));
  EXPECT_THAT(message("a ::= \"b\""), HasSubstr("root"));
  EXPECT_THAT(message("root ::= (\"a\""), HasSubstr("')'"));
  EXPECT_THAT(message("root ::= \"a"), HasSubstr("too early"));
  EXPECT_THAT(message("root ::= [z-a]"), HasSubstr("out of order"));
  EXPECT_THAT(message("root ::= \"a\"\nroot ::= \"b\""), HasSubstr("twice"));
  EXPECT_THAT(message("root ::= root"), HasSubstr("no text"));
  EXPECT_THAT(message("root ::= \"a\"{3,2}"), HasSubstr("out of order"));
  EXPECT_THAT(message("root ::= " + std::string(10000, '(')), HasSubstr("deeper"));
}

}  // namespace
}  // namespace vl8

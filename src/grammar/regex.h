// Regular expressions of ECMA-262 (JSON Schema's `pattern`, and guided_regex) as expressions: alternation, groups, classes,
// \d \w \s \p{..}, escapes, * + ? {m,n} (greedy and lazy mean the same here), anchors at the ends of alternatives, and lookahead
// at the beginning of a pattern. Refused by name: backreferences, word borders, lookbehind, other lookahead, flags.
#pragma once
#include <string_view>

#include "grammar/expr.h"

namespace vl8 {

enum class RegexMatch : uint8_t {
  search,  // the pattern is found somewhere in the text, as JSON Schema reads it; ^ and $ bind it
  full,    // the pattern is the whole text, as guided_regex reads it
};

// `where` names the pattern in errors (a JSON pointer, "guided_regex"). Throws Error(input) with the offset of a syntax error and
// Error(unsupported) for what is not supported. A pattern that no text matches gives `never`.
ExprPtr parse_regex(std::string_view pattern, RegexMatch match, const GrammarLimits& limits, std::string_view where);

}  // namespace vl8

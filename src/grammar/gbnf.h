// Grammars in the notation of llama.cpp's GBNF: `name ::= alternatives` with "texts", [classes], ., (groups), the quantifiers
// * + ? {m} {m,} {m,n}, and comments from # to the end of the line. The text is what `root` derives (or `start`, where there is
// no root). Recursion may be anywhere, on the left too.
#pragma once
#include <string_view>

#include "grammar/expr.h"

namespace vl8 {

// Throws Error(input) with the line of a fault, and Error(unsupported) beyond a limit.
Grammar parse_gbnf(std::string_view text, const GrammarLimits& limits);

}  // namespace vl8

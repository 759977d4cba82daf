// Template source -> tokens. White-space control happens here: `-` and `+` at tags, and what trim_blocks (the
// line end after a block or comment goes) and lstrip_blocks (blanks before a block or comment at the start of
// a line go) ask for. As in Jinja2, line ends become "\n" and one at the very end of the source is dropped.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace vl8 {

struct JinjaToken {
  enum class Kind {
    text,
    output_begin,
    output_end,
    block_begin,
    block_end,
    name,
    integer,
    number,
    string,
    op,
    end
  };
  Kind kind;
  int line;
  std::string text;      // of a text, name, string (unescaped) or operator
  JinjaInt integer = 0;  // of an integer
  double number = 0;
};

// Throws Error(input) "origin:line: ...". `source` is valid UTF-8.
std::vector<JinjaToken> lex_jinja(std::string_view source, const std::string& origin);

}  // namespace vl8

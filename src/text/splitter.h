// The pre-tokenizer: cuts normalised text into pieces that the BPE then handles one by one. Every byte of the
// text is in exactly one piece, in order.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace vl8 {

// The split pattern of the Qwen2 and Qwen3 families (spec section 3).
extern const std::string_view kQwenPattern;

// The hand-written matcher for kQwenPattern. `begin` < `end`, valid UTF-8; returns the end of the first
// piece. A piece may depend on one character after it, so `end` must be the end of the text.
const char* qwen_piece_end(const UnicodeTable& table, const char* begin, const char* end);

// Any pattern, by PCRE2 with Unicode properties; matches and the stretches between them are the pieces.
class PcreSplitter {
 public:
  // A regular expression, or with `literal` the text itself. Throws Error(unsupported) with the position in
  // the pattern; `where` names file and field. Escapes that mean something else in the reference's engine are
  // refused.
  PcreSplitter(const std::string& pattern, bool literal, const std::string& where);
  PcreSplitter(PcreSplitter&&) noexcept;
  ~PcreSplitter();

  // Appends the pieces of `text` (valid UTF-8). Thread-safe. Throws Error(input) when the pattern needs more
  // than the allowed backtracking on this text.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace vl8

// Text of a growing sequence of ids. What `push` returns never ends inside a UTF-8 character: bytes that may
// still become one are held back until the next id or `finish`. The concatenation of all results equals
// Tokenizer::decode of all ids.
#pragma once
#include <string>

#include "text/tokenizer.h"

namespace vl8 {

class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder. With skip_special, ids of special added tokens give no text.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  std::string push(TokenId id);
  std::string finish();  // held bytes become one U+FFFD; the decoder is then as new
  bool holds_bytes() const { return !held_.empty(); }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;  // at most 3 bytes: a well-formed beginning of a character
};

}  // namespace vl8

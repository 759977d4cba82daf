// Reads a pattern or grammar one code point at a time. The text is valid UTF-8 and outlives the reader.
#pragma once
#include <string_view>

#include "text/utf8.h"

namespace vl8 {

class CodePointReader {
 public:
  static constexpr char32_t kEnd = 0xFFFFFFFF;

  explicit CodePointReader(std::string_view text) : text_(text) {}

 protected:
  ~CodePointReader() = default;
  char32_t peek(size_t ahead = 0) const {  // ahead: in bytes, only behind ASCII
    return at_ + ahead < text_.size() ? decode_valid(text_.data() + at_ + ahead).value : kEnd;
  }
  char32_t next() {
    if (at_ >= text_.size()) bad("it ends too early");
    const CodePoint c = decode_valid(text_.data() + at_);
    at_ += c.bytes;
    return c.value;
  }
  bool take(std::string_view s) {
    if (!text_.substr(at_).starts_with(s)) return false;
    at_ += s.size();
    return true;
  }
  [[noreturn]] virtual void bad(std::string_view what) const = 0;  // Error(input) that says where

  std::string_view text_;
  size_t at_ = 0;  // bytes
};

}  // namespace vl8

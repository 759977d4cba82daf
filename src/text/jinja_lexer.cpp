#include "text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "core/error.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace vl8 {
namespace {
using Kind = JinjaToken::Kind;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || uint8_t(c) >= 0x80;
}

std::string unix_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

size_t trimmed_size(std::string_view s) {
  while (!s.empty()) {
    CodePoint c = decode_valid_before(s.data() + s.size());
    if (!is_python_space(c.value)) break;
    s.remove_suffix(c.bytes);
  }
  return s.size();
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& origin) : source_(unix_lines(source)), origin_(origin) {}

  std::vector<JinjaToken> run() {
    while (at_ < source_.size()) {
      size_t tag = source_.find('{', at_);
      while (tag != std::string::npos && !starts_tag(tag)) tag = source_.find('{', tag + 1);
      if (tag == std::string::npos) {
        put_text(source_.size());
        break;
      }
      text_before_tag(tag);
      char kind = source_[tag + 1];
      move_to(tag + 2);
      if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) move_to(at_ + 1);
      if (kind == '#')
        comment();
      else if (kind == '{')
        inside(Kind::output_begin, Kind::output_end);
      else if (!raw())
        inside(Kind::block_begin, Kind::block_end);
    }
    push(Kind::end);
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void error(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}:{}: {}", origin_, line_, fmt::format(format, std::forward<Args>(args)...));
  }

  bool starts_tag(size_t at) const {
    if (at + 1 >= source_.size()) return false;
    char c = source_[at + 1];
    return c == '{' || c == '%' || c == '#';
  }
  void move_to(size_t to) {
    line_ += int(std::count(source_.begin() + int64_t(at_), source_.begin() + int64_t(to), '\n'));
    at_ = to;
  }
  bool follows(std::string_view s) const { return std::string_view(source_).substr(at_).starts_with(s); }
  void skip_blanks() {
    size_t to = at_;
    while (to < source_.size()) {
      CodePoint c = decode_valid(source_.data() + to);
      if (!is_python_space(c.value)) break;
      to += c.bytes;
    }
    move_to(to);
  }
  JinjaToken& push(Kind kind, std::string text = {}) {
    tokens_.push_back({kind, line_, std::move(text)});
    return tokens_.back();
  }
  void put_text(size_t end) {
    if (end > at_) push(Kind::text, source_.substr(at_, end - at_));
    move_to(std::max(end, at_));
  }

  void text_before_tag(size_t tag) {
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') {
      put_text(at_ + trimmed_size(text));
    } else if (sign != '+' && source_[tag + 1] != '{') {
      size_t line_begin = text.rfind('\n') + 1;  // 0 if there is none
      bool at_line_start = line_begin > 0 || at_ == 0 || source_[at_ - 1] == '\n';
      bool only_blanks = trimmed_size(text.substr(line_begin)) == 0;
      put_text(at_line_start && only_blanks ? at_ + line_begin : tag);
    } else {
      put_text(tag);
    }
  }

  // Behind the mark that ends a tag, `at_` is where the tag's own sign would be.
  bool tag_end(std::string_view mark, bool trim_line_end) {
    if (follows("-") && std::string_view(source_).substr(at_ + 1).starts_with(mark)) {
      move_to(at_ + 1 + mark.size());
      skip_blanks();
      return true;
    }
    bool plus = trim_line_end && follows("+") && std::string_view(source_).substr(at_ + 1).starts_with(mark);
    if (!plus && !follows(mark)) return false;
    move_to(at_ + plus + mark.size());
    if (trim_line_end && !plus && follows("\n")) move_to(at_ + 1);
    return true;
  }

  void comment() {
    size_t end = source_.find("#}", at_);
    if (end == std::string::npos) error("the comment has no end; close it with #}}");
    bool sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    move_to(end - sign);
    tag_end("#}", true);
  }

  // {% raw %} ... {% endraw %}: false if this block is something else.
  bool raw() {
    size_t was = at_;
    int was_line = line_;
    auto word = [&](std::string_view w) {
      skip_blanks();
      if (!follows(w)) return false;
      move_to(at_ + w.size());
      skip_blanks();
      return true;
    };
    if (!word("raw") || !tag_end("%}", false)) {
      at_ = was, line_ = was_line;
      return false;
    }
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      size_t begin = at_;
      int begin_line = line_;
      move_to(tag + 2);
      if (follows("-") || follows("+")) move_to(at_ + 1);
      if (word("endraw") && tag_end("%}", true)) {
        size_t end = at_;
        int end_line = line_;
        at_ = begin, line_ = begin_line;
        text_before_tag(tag);
        at_ = end, line_ = end_line;
        return true;
      }
      at_ = begin, line_ = begin_line;
    }
    error("the raw block has no end; close it with {{% endraw %}}");
  }

  void inside(Kind begin, Kind end) {
    std::string_view mark = end == Kind::output_end ? "}}" : "%}";
    push(begin);
    std::string open;  // brackets waiting to be closed
    for (;;) {
      skip_blanks();
      if (at_ == source_.size()) error("the tag has no end; close it with {}", mark);
      if (open.empty()) {
        int line = line_;
        if (tag_end(mark, end == Kind::block_end)) {
          push(end).line = line;
          return;
        }
      }
      token(open);
    }
  }

  void token(std::string& open) {
    char c = source_[at_];
    if (is_name_start(c)) {
      size_t to = at_;
      while (to < source_.size() && (is_name_start(source_[to]) || is_digit(source_[to]))) ++to;
      push(Kind::name, source_.substr(at_, to - at_));
      return move_to(to);
    }
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string(c);
    for (std::string_view op : {"//", "**", "==", "!=", ">=", "<="})
      if (follows(op)) return push(Kind::op, std::string(op)), move_to(at_ + 2);
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      error("unexpected character '{}'",
            std::string_view(source_).substr(at_, decode_valid(&source_[at_]).bytes));
    bracket(c, open);
    push(Kind::op, std::string(1, c));
    move_to(at_ + 1);
  }

  void bracket(char c, std::string& open) const {
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (open.empty()) error("unexpected '{}'", c);
    if (open.back() != c) error("unexpected '{}', expected '{}'", c, open.back());
    open.pop_back();
  }

  void number() {
    size_t to = at_;
    int base = 10;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      char b = char(source_[at_ + 1] | 0x20);
      base = b == 'x' ? 16 : b == 'o' ? 8 : b == 'b' ? 2 : 10;
    }
    auto digit = [&](size_t i, int of_base) {
      if (i >= source_.size()) return false;
      char c = char(source_[i] | 0x20);
      int value = is_digit(source_[i]) ? source_[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
      return value < of_base;
    };
    auto digits = [&](int of_base) {
      while (digit(to, of_base) || (to < source_.size() && source_[to] == '_' && digit(to + 1, of_base)))
        ++to;
    };
    if (base != 10) to += 2;
    digits(base);
    bool fraction = false;
    bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // list.0.1 has two integers
    if (base == 10 && !after_dot) {
      if (to < source_.size() && source_[to] == '.' && digit(to + 1, 10)) fraction = true, ++to, digits(10);
      if (to < source_.size() && (source_[to] | 0x20) == 'e') {
        size_t sign = to + 1 < source_.size() && (source_[to + 1] == '+' || source_[to + 1] == '-');
        if (digit(to + 1 + sign, 10)) fraction = true, to += 1 + sign, digits(10);
      }
    }
    std::string text = source_.substr(at_, to - at_);
    std::erase(text, '_');
    if (fraction) {
      push(Kind::number).number = std::strtod(text.c_str(), nullptr);
    } else {
      int64_t value = 0;
      const char* first = text.data() + (base != 10 ? 2 : 0);
      auto [end, code] = std::from_chars(first, text.data() + text.size(), value, base);
      if (code != std::errc() || end != text.data() + text.size())
        error("the number {} is out of range", text);
      push(Kind::integer).integer = value;
    }
    move_to(to);
  }

  void string(char quote) {
    int line = line_;
    std::string out;
    size_t i = at_ + 1;
    for (;; ++i) {
      if (i >= source_.size()) error("the string has no end");
      if (source_[i] == quote) break;
      if (source_[i] != '\\')
        out += source_[i];
      else if (++i < source_.size())
        escape(i, out);
    }
    push(Kind::string, std::move(out)).line = line;
    move_to(i + 1);
  }

  // source_[i] follows a backslash; leaves i at the last character of the escape.
  void escape(size_t& i, std::string& out) const {
    static constexpr std::string_view kLetters = "n\nt\tr\ra\ab\bf\fv\v\\\\''\"\"";
    for (size_t k = 0; k < kLetters.size(); k += 2)
      if (kLetters[k] == source_[i]) return out.push_back(kLetters[k + 1]);
    char c = source_[i];
    size_t length = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (length) {
      char32_t value = number_of(i + 1, length, 16);
      if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        error("\\{} does not name a character", c);
      append_utf8(out, value);
      i += length;
    } else if (c >= '0' && c <= '7') {
      size_t n = 1;
      while (n < 3 && i + n < source_.size() && source_[i + n] >= '0' && source_[i + n] <= '7') ++n;
      append_utf8(out, number_of(i, n, 8));
      i += n - 1;
    } else if (c != '\n') {  // a backslash at the end of a line joins it with the next
      out += '\\';
      out += c;
    }
  }
  char32_t number_of(size_t from, size_t length, int base) const {
    uint32_t value = 0;
    std::string_view digits = std::string_view(source_).substr(std::min(from, source_.size()), length);
    auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (digits.size() != length || code != std::errc() || end != digits.data() + digits.size())
      error("a broken escape in a string");
    return value;
  }

  std::string source_;
  const std::string& origin_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<JinjaToken> tokens_;
};
}  // namespace

std::vector<JinjaToken> lex_jinja(std::string_view source, const std::string& origin) {
  return Lexer(source, origin).run();
}

}  // namespace vl8

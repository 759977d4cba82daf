#include "grammar/gbnf.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "grammar/code_point_reader.h"

namespace vl8 {
namespace {

constexpr int64_t kMaxRepeat = 100'000;

bool in_name(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Parser : CodePointReader {
 public:
  Parser(std::string_view text, const GrammarLimits& limits) : CodePointReader(text), limits_(limits) {}

  Grammar parse() {
    skip();
    while (peek() != kEnd) rule();
    for (const char* start : {"root", "start"})
      if (auto it = ids_.find(start); it != ids_.end() && grammar_.rules[size_t(it->second)].body) {
        grammar_.start = it->second;
        check_defined();
        return std::move(grammar_);
      }
    bad("there is no rule named root");
  }

 private:
  [[noreturn]] void bad(std::string_view what) const override {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + int64_t(std::min(at_, text_.size())), '\n');
    fail_input("the grammar, line {}: {}", line, what);
  }

  void skip() {  // white space and comments
    for (;;) {
      const char32_t c = peek();
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') ++at_;
      else if (c == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      else return;
    }
  }

  std::string name() {
    std::string out;
    while (in_name(peek())) out += char(next());
    if (out.empty()) bad("a rule name is expected");
    return out;
  }
  int32_t id_of(const std::string& n) {
    auto [it, fresh] = ids_.try_emplace(n, 0);
    if (fresh) {
      if (grammar_.rules.size() >= limits_.rules) fail(ErrorKind::unsupported, "the grammar has more than {} rules", limits_.rules);
      it->second = grammar_.add(n);
      first_use_.push_back(at_);
    }
    return it->second;
  }
  void check_defined() {
    for (size_t i = 0; i < grammar_.rules.size(); ++i)
      if (!grammar_.rules[i].body) {
        at_ = first_use_[i];
        bad(fmt::format("the rule '{}' is not defined", grammar_.rules[i].name));
      }
  }

  void rule() {
    const std::string n = name();
    skip();
    if (!take("::=")) bad(fmt::format("'::=' is expected behind '{}'", n));
    skip();
    const int32_t id = id_of(n);
    if (grammar_.rules[size_t(id)].body) bad(fmt::format("the rule '{}' is defined twice", n));
    ExprPtr e = alternatives();
    grammar_.rules[size_t(id)].body = std::move(e);
  }

  // At the beginning of the next rule: a name with ::= behind it.
  bool at_rule() const {
    size_t i = at_;
    while (i < text_.size() && in_name(uint8_t(text_[i]))) ++i;
    if (i == at_) return false;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    return text_.substr(i).starts_with("::=");
  }

  ExprPtr alternatives() {
    if (++depth_ > limits_.depth) bad(fmt::format("groups are nested deeper than {}", limits_.depth));
    std::vector<ExprPtr> parts;
    do {
      skip();
      parts.push_back(terms());
    } while (take("|"));
    --depth_;
    return choice(std::move(parts));
  }

  ExprPtr terms() {
    std::vector<ExprPtr> parts;
    for (skip(); peek() != kEnd && peek() != '|' && peek() != ')' && !at_rule(); skip()) parts.push_back(quantified(term()));
    return sequence(std::move(parts));
  }

  ExprPtr quantified(ExprPtr e) {
    for (;;) {
      if (take("*")) e = repeat(e, 0, kUnlimited);
      else if (take("+")) e = repeat(e, 1, kUnlimited);
      else if (take("?")) e = optional_of(e);
      else if (take("{")) e = braces(e);
      else return e;
      if (++quantifiers_ > limits_.states) bad("there are too many quantifiers");
    }
  }
  ExprPtr braces(const ExprPtr& e) {
    skip();
    const int64_t min = number();
    int64_t max = min;
    skip();
    if (take(",")) {
      skip();
      max = peek() == '}' ? kUnlimited : number();
      skip();
    }
    if (!take("}")) bad("'}' is expected");
    if (max >= 0 && max < min) bad(fmt::format("{{{},{}}} is out of order", min, max));
    return repeat(e, min, max);
  }
  int64_t number() {
    if (peek() < '0' || peek() > '9') bad("a number is expected");
    int64_t n = 0;
    while (peek() >= '0' && peek() <= '9')
      if ((n = n * 10 + int64_t(next() - '0')) > kMaxRepeat) bad(fmt::format("repetitions beyond {} are not supported", kMaxRepeat));
    return n;
  }

  ExprPtr term() {
    if (take("\"")) return text();
    if (take("[")) return char_class();
    if (take(".")) return chars(CodePoints::all());
    if (take("(")) {
      ExprPtr e = alternatives();
      if (!take(")")) bad("a ')' is missing");
      return e;
    }
    if (!in_name(peek())) bad("a text, a class, a group or a rule name is expected");
    return rule_ref(id_of(name()));
  }

  ExprPtr text() {
    std::string out;
    while (!take("\"")) {
      if (peek() == '\n') bad("a text ends at its line's end without a quote");
      append_utf8(out, character());
    }
    return literal(out);
  }

  ExprPtr char_class() {
    const bool inverted = take("^");
    CodePoints set;
    while (!take("]")) {
      const char32_t low = character();
      char32_t high = low;
      if (peek() == '-' && !text_.substr(at_).starts_with("-]")) {
        next();
        high = character();
        if (high < low) bad("a range in brackets is out of order");
      }
      set = set | CodePoints::range(low, high);
    }
    return chars(inverted ? ~set : set);
  }

  char32_t character() {
    const char32_t c = next();
    if (c != '\\') return c;
    const char32_t e = next();
    switch (e) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return hex(2);
      case 'u': return hex(4);
      case 'U': return hex(8);
      case '"': case '\\': case '[': case ']': case '-': case '^': return e;
      default: bad("unknown escape; there are \\n \\r \\t \\xHH \\uHHHH \\UHHHHHHHH \\\" \\\\ \\[ \\] \\- \\^");
    }
  }
  char32_t hex(int digits) {
    char32_t v = 0;
    for (int i = 0; i < digits; ++i) {
      const char32_t c = next();
      const int d = c >= '0' && c <= '9' ? int(c) - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? int(c | 32) - 'a' + 10 : -1;
      if (d < 0) bad("a hexadecimal digit is expected");
      v = v * 16 + char32_t(d);
    }
    if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) bad("this is no code point");
    return v;
  }

  const GrammarLimits& limits_;
  Grammar grammar_;
  std::map<std::string, int32_t> ids_;
  std::vector<size_t> first_use_;
  size_t depth_ = 0, quantifiers_ = 0;
};

}  // namespace

Grammar parse_gbnf(std::string_view text, const GrammarLimits& limits) {
  if (text.size() > limits.source_bytes)
    fail(ErrorKind::unsupported, "the grammar has {} bytes, the limit is {}", text.size(), limits.source_bytes);
  if (!is_valid_utf8(text)) fail_input("the grammar is not valid UTF-8");
  return Parser(text, limits).parse();
}

}  // namespace vl8

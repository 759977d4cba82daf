// Recursive descent into nodes that still know anchors and lookahead; `Expander` then says what they mean for the whole text.
#include "grammar/regex.h"

#include <optional>
#include <span>

#include "core/error.h"
#include "grammar/char_dfa.h"
#include "grammar/code_point_reader.h"

namespace vl8 {
namespace {

struct Node {
  enum class Kind : uint8_t { plain, sequence, choice, repeat, start, end, lookahead };
  Kind kind = Kind::plain;
  ExprPtr expr;             // plain
  std::vector<Node> parts;  // sequence, choice; repeat and lookahead: one
  int64_t min = 0, max = 0;
  bool negative = false;  // lookahead

  bool has_assertions() const {
    if (kind == Kind::start || kind == Kind::end || kind == Kind::lookahead) return true;
    for (const Node& p : parts)
      if (p.has_assertions()) return true;
    return false;
  }
};

constexpr int64_t kMaxRepeat = 100'000;

class Parser : CodePointReader {
 public:
  Parser(std::string_view pattern, const GrammarLimits& limits, std::string_view where)
      : CodePointReader(pattern), limits_(limits), where_(where) {}

  Node parse() {
    Node n = alternatives();
    if (peek() != kEnd) bad("unmatched ')'");
    return n;
  }

 private:
  [[noreturn]] void bad(std::string_view what) const override {
    fail_input("{}: at byte {} of the pattern \"{}\": {}", where_, at_, text_.substr(0, 200), what);
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorKind::unsupported, "{}: at byte {} of the pattern \"{}\": {}", where_, at_, text_.substr(0, 200), what);
  }


  Node alternatives() {
    if (++depth_ > limits_.depth) bad(fmt::format("groups are nested deeper than {}", limits_.depth));
    Node out{.kind = Node::Kind::choice};
    do out.parts.push_back(terms());
    while (take("|"));
    --depth_;
    return out.parts.size() == 1 ? std::move(out.parts[0]) : std::move(out);
  }

  Node terms() {
    Node out{.kind = Node::Kind::sequence};
    while (peek() != kEnd && peek() != '|' && peek() != ')') out.parts.push_back(quantified(atom()));
    return out;
  }

  Node quantified(Node body) {
    int64_t min = 0, max = kUnlimited;
    if (take("*")) {
    } else if (take("+")) {
      min = 1;
    } else if (take("?")) {
      max = 1;
    } else if (!braces(min, max)) {
      return body;
    }
    take("?");
    if (peek() == '*' || peek() == '+' || peek() == '?') bad("a quantifier follows a quantifier");
    if (body.has_assertions()) unsupported("a repeated anchor or lookahead is not supported");
    Node out{.kind = Node::Kind::repeat, .min = min, .max = max};
    out.parts.push_back(std::move(body));
    return out;
  }

  bool braces(int64_t& min, int64_t& max) {
    const size_t start = at_;
    if (!take("{")) return false;
    auto low = number();
    if (low && take("}")) {
      min = max = *low;
      return true;
    }
    if (low && take(",")) {
      auto high = number();
      if (take("}")) {
        min = *low;
        max = high ? *high : kUnlimited;
        if (high && *high < *low) bad(fmt::format("{{{},{}}} is out of order", *low, *high));
        return true;
      }
    }
    at_ = start;  // a plain brace
    return false;
  }

  std::optional<int64_t> number() {
    if (peek() < '0' || peek() > '9') return std::nullopt;
    int64_t n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + int64_t(next() - '0');
      if (n > kMaxRepeat) unsupported(fmt::format("repetitions beyond {} are not supported", kMaxRepeat));
    }
    return n;
  }

  Node plain(ExprPtr e) { return {.kind = Node::Kind::plain, .expr = std::move(e)}; }
  Node plain(CodePoints set) { return plain(chars(std::move(set))); }

  Node atom() {
    switch (peek()) {
      case '(': return group();
      case '[': next(); return plain(char_class());
      case '^': next(); return {.kind = Node::Kind::start};
      case '$': next(); return {.kind = Node::Kind::end};
      case '.': next(); return plain(~CodePoints::of({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
      case '\\': return plain(escape(false));
      case '*':
      case '+':
      case '?': bad("nothing to repeat");
      default: return plain(CodePoints::one(next()));
    }
  }

  Node group() {
    next();
    if (take("?=") || take("?!")) {
      Node out{.kind = Node::Kind::lookahead, .negative = text_[at_ - 1] == '!'};
      out.parts.push_back(alternatives());
      close();
      return out;
    }
    if (take("?:")) {
    } else if (take("?<=") || take("?<!")) {
      unsupported("lookbehind is not supported");
    } else if (take("?<") || take("?P<")) {
      while (next() != '>') {
      }
    } else if (peek() == '?') {
      unsupported("only (?:...), (?<name>...), (?=...) and (?!...) are supported after '(?'");
    }
    Node inner = alternatives();
    close();
    return inner;
  }
  void close() {
    if (!take(")")) bad("a ')' is missing");
  }

  CodePoints char_class() {
    const bool inverted = take("^");
    CodePoints set;
    while (!take("]")) {
      CodePoints low = class_atom();
      if (peek() == '-' && peek(1) != ']' && peek(1) != kEnd) {
        next();
        CodePoints high = class_atom();
        const bool single = low.intervals().size() == 1 && low.intervals()[0].first == low.intervals()[0].second &&
                            high.intervals().size() == 1 && high.intervals()[0].first == high.intervals()[0].second;
        if (!single) {
          set = set | low | CodePoints::one('-') | high;
        } else if (low.intervals()[0].first > high.intervals()[0].first) {
          bad("a range in brackets is out of order");
        } else {
          set = set | CodePoints::range(low.intervals()[0].first, high.intervals()[0].first);
        }
        continue;
      }
      set = set | low;
    }
    return inverted ? ~set : set;
  }
  CodePoints class_atom() { return peek() == '\\' ? escape(true) : CodePoints::one(next()); }

  CodePoints escape(bool in_class) {
    next();
    const char32_t c = next();
    switch (c) {
      case 'd': case 'D': case 'w': case 'W': case 's': case 'S': return CodePoints::escape_class(char(c));
      case 'n': return CodePoints::one('\n');
      case 'r': return CodePoints::one('\r');
      case 't': return CodePoints::one('\t');
      case 'f': return CodePoints::one('\f');
      case 'v': return CodePoints::one('\v');
      case 'c': return CodePoints::one(next() & 31);
      case 'x': return CodePoints::one(hex(2));
      case 'u': return CodePoints::one(unicode_escape());
      case 'p': case 'P': return property(c == 'P');
      case 'b':
        if (in_class) return CodePoints::one('\b');
        unsupported("\\b (a word border) is not supported");
      case 'B': unsupported("\\B is not supported");
      case 'k': unsupported("backreferences are not supported");
      case '0': return CodePoints::one(0);
      default: break;
    }
    if (c >= '1' && c <= '9') unsupported("backreferences are not supported");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) bad(fmt::format("unknown escape \\{}", char(c)));
    return CodePoints::one(c);
  }

  char32_t hex(int digits) {
    char32_t v = 0;
    for (int i = 0; i < digits; ++i) {
      const char32_t c = next();
      const int d = c >= '0' && c <= '9' ? int(c) - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? int(c | 32) - 'a' + 10 : -1;
      if (d < 0) bad("a hexadecimal digit is missing");
      v = v * 16 + char32_t(d);
    }
    return v;
  }
  char32_t unicode_escape() {
    if (take("{")) {
      char32_t v = 0;
      while (!take("}")) {
        v = v * 16 + hex(1);
        if (v > 0x10FFFF) bad("the code point is beyond U+10FFFF");
      }
      return v;
    }
    char32_t v = hex(4);
    if (v >= 0xD800 && v < 0xDC00 && take("\\u")) {
      const char32_t low = hex(4);
      if (low < 0xDC00 || low > 0xDFFF) bad("the second half of a surrogate pair is missing");
      return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
    }
    return v;
  }
  CodePoints property(bool inverted) {
    if (!take("{")) bad("\\p needs a name in braces");
    const size_t start = at_;
    while (peek() != '}') next();
    const std::string_view name = text_.substr(start, at_ - start);
    next();
    CodePoints set = CodePoints::property(name);
    if (set.empty()) unsupported(fmt::format("the property {} is not supported", name));
    return inverted ? ~set : set;
  }

  const GrammarLimits& limits_;
  std::string_view where_;
  size_t depth_ = 0;
};

// What a pattern means for the whole text: open sides take any text, anchors close them.
class Expander {
 public:
  Expander(const GrammarLimits& limits, std::string_view where, std::string_view pattern)
      : limits_(limits), where_(where), pattern_(pattern) {}

  struct Sides {
    bool left_open, right_open;  // any text may precede or follow
    bool left_edge, right_edge;  // nothing else of the pattern precedes or follows
  };

  ExprPtr expand(const Node& n, Sides s) const {
    if (!n.has_assertions()) return padded(plain(n), s);
    switch (n.kind) {
      case Node::Kind::choice: {
        std::vector<ExprPtr> parts;
        for (const Node& p : n.parts) parts.push_back(expand(p, s));
        return choice(std::move(parts));
      }
      case Node::Kind::sequence: return expand_sequence(std::span<const Node>(n.parts), s);
      default: return expand_sequence(std::span<const Node>(&n, 1), s);
    }
  }

 private:
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorKind::unsupported, "{}: in the pattern \"{}\": {}", where_, pattern_.substr(0, 200), what);
  }
  static ExprPtr any() {
    static const ExprPtr e = repeat(chars(CodePoints::all()), 0, kUnlimited);
    return e;
  }
  static ExprPtr padded(ExprPtr e, Sides s) {
    return sequence({s.left_open ? any() : nothing(), std::move(e), s.right_open ? any() : nothing()});
  }

  ExprPtr expand_sequence(std::span<const Node> parts, Sides s) const {
    while (!parts.empty() && parts.front().kind == Node::Kind::start) {
      if (!s.left_edge) unsupported("^ is supported at the beginning of an alternative only");
      s.left_open = false;
      parts = parts.subspan(1);
    }
    while (!parts.empty() && parts.back().kind == Node::Kind::end) {
      if (!s.right_edge) unsupported("$ is supported at the end of an alternative only");
      s.right_open = false;
      parts = parts.first(parts.size() - 1);
    }
    if (parts.empty()) return padded(nothing(), s);
    if (parts.front().kind == Node::Kind::lookahead) return expand_lookahead(parts, s);
    if (parts.size() == 1) {
      const Node& only = parts[0];
      if (only.kind == Node::Kind::start || only.kind == Node::Kind::end)
        unsupported("^ and $ are supported at the ends of an alternative only");
      return expand(only, s);
    }
    std::vector<ExprPtr> out;
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool first = i == 0, last = i + 1 == parts.size();
      out.push_back(expand(parts[i], {first && s.left_open, last && s.right_open, first && s.left_edge, last && s.right_edge}));
    }
    return sequence(std::move(out));
  }

  // (?=a)rest and (?!a)rest at a fixed left border, where `rest` reaches the end of the text: an intersection.
  ExprPtr expand_lookahead(std::span<const Node> parts, Sides s) const {
    if (s.left_open || !s.left_edge || !s.right_edge)
      unsupported("lookahead is supported directly behind ^ at the beginning of the pattern only");
    const Node& look = parts[0];
    ExprPtr ahead = expand(look.parts[0], {false, true, true, true});
    ExprPtr rest = expand_sequence(parts.subspan(1), s);
    CharDfa a = CharDfa::of(*ahead, limits_.character_states, where_);
    if (look.negative) a = a.complement();
    CharDfa b = CharDfa::of(*rest, limits_.character_states, where_);
    return automaton(std::make_shared<const CharDfa>(CharDfa::both(a, b, limits_.character_states, where_)), Spelling::plain);
  }

  ExprPtr plain(const Node& n) const {
    std::vector<ExprPtr> parts;
    for (const Node& p : n.parts) parts.push_back(plain(p));
    switch (n.kind) {
      case Node::Kind::sequence: return sequence(std::move(parts));
      case Node::Kind::choice: return choice(std::move(parts));
      case Node::Kind::repeat: return repeat(parts[0], n.min, n.max);
      default: return n.expr;
    }
  }

  const GrammarLimits& limits_;
  std::string_view where_, pattern_;
};

}  // namespace

ExprPtr parse_regex(std::string_view pattern, RegexMatch match, const GrammarLimits& limits, std::string_view where) {
  if (pattern.size() > limits.source_bytes)
    fail(ErrorKind::unsupported, "{}: the pattern has {} bytes, the limit is {}", where, pattern.size(), limits.source_bytes);
  if (!is_valid_utf8(pattern)) fail_input("{}: the pattern is not valid UTF-8", where);
  const bool open = match == RegexMatch::search;
  return Expander(limits, where, pattern).expand(Parser(pattern, limits, where).parse(), {open, open, true, true});
}

}  // namespace vl8

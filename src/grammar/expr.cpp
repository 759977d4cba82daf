#include "grammar/expr.h"

#include "grammar/char_dfa.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

using Kind = Expr::Kind;

ExprPtr make(Expr e) { return std::make_shared<const Expr>(std::move(e)); }

}  // namespace

ExprPtr never() {
  static const ExprPtr e = make({.kind = Kind::never});
  return e;
}

ExprPtr nothing() {
  static const ExprPtr e = make({.kind = Kind::empty});
  return e;
}

ExprPtr chars(CodePoints set, Spelling spelling) {
  if (set.empty()) return never();
  return make({.kind = Kind::chars, .spelling = spelling, .set = std::move(set)});
}

ExprPtr literal(std::string_view text) {
  if (text.empty()) return nothing();
  return make({.kind = Kind::bytes, .text = std::string(text)});
}

ExprPtr token_literal(int32_t token) { return make({.kind = Kind::token, .id = token}); }

ExprPtr sequence(std::vector<ExprPtr> parts) {
  std::vector<ExprPtr> kept;
  for (ExprPtr& p : parts) {
    if (p->kind == Kind::never) return never();
    if (p->kind == Kind::empty) continue;
    if (p->kind == Kind::bytes && !kept.empty() && kept.back()->kind == Kind::bytes) {
      kept.back() = literal(kept.back()->text + p->text);
      continue;
    }
    kept.push_back(std::move(p));
  }
  if (kept.empty()) return nothing();
  if (kept.size() == 1) return kept[0];
  return make({.kind = Kind::sequence, .parts = std::move(kept)});
}

ExprPtr choice(std::vector<ExprPtr> parts) {
  std::vector<ExprPtr> kept;
  for (ExprPtr& p : parts)
    if (p->kind != Kind::never) kept.push_back(std::move(p));
  if (kept.empty()) return never();
  if (kept.size() == 1) return kept[0];
  return make({.kind = Kind::choice, .parts = std::move(kept)});
}

ExprPtr repeat(ExprPtr body, int64_t min, int64_t max) {
  if (max == 0 || body->kind == Kind::empty) return nothing();
  if (body->kind == Kind::never) return min == 0 ? nothing() : never();
  if (min == 1 && max == 1) return body;
  return make({.kind = Kind::repeat, .parts = {std::move(body)}, .min = min, .max = max});
}

ExprPtr optional_of(ExprPtr body) { return repeat(std::move(body), 0, 1); }

ExprPtr rule_ref(int32_t rule) { return make({.kind = Kind::rule, .id = rule}); }

ExprPtr automaton(std::shared_ptr<const CharDfa> dfa, Spelling spelling) {
  if (dfa->empty()) return never();
  return make({.kind = Kind::automaton, .spelling = spelling, .dfa = std::move(dfa)});
}

ExprPtr with_spelling(const ExprPtr& e, Spelling spelling) {
  switch (e->kind) {
    case Kind::chars: return chars(e->set, spelling);
    case Kind::automaton: return automaton(e->dfa, spelling);
    case Kind::bytes: return spelling == Spelling::json ? literal(json_escaped(e->text)) : e;
    case Kind::sequence:
    case Kind::choice:
    case Kind::repeat: {
      Expr copy = *e;
      for (ExprPtr& p : copy.parts) p = with_spelling(p, spelling);
      return make(std::move(copy));
    }
    default: return e;
  }
}

std::string json_escaped(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (char ch : text) {
    const auto c = uint8_t(ch);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (c < 0x20)
          out += {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
        else
          out += ch;
    }
  }
  return out;
}

}  // namespace vl8

// A plain recogniser of grammars, for tests only: the sets of positions where each rule may end, found by repetition until
// nothing changes. Shares no code with the automata; cubic and proud of it.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "grammar/char_dfa.h"
#include "grammar/expr.h"
#include "grammar/network.h"
#include "text/utf8.h"

namespace vl8::test {

class Reference {
 public:
  Reference(const Grammar& grammar, std::string_view text) : grammar_(grammar), text_(text) {
    bool changed = true;
    while (changed) {
      changed = false;
      for (size_t r = 0; r < grammar.rules.size(); ++r)
        for (size_t at = 0; at <= text.size(); ++at) {
          Ends now = ends(*grammar.rules[r].body, at);
          Ends& known = table_[{int32_t(r), at}];
          if (now.at != known.at || now.runs_out != known.runs_out) known = now, changed = true;
        }
    }
  }
  bool accepts() { return table_[{grammar_.start, 0}].at.count(text_.size()) > 0; }
  // The text can be continued to a member (or is one): of grammars where every part can be completed.
  bool is_prefix() { return table_[{grammar_.start, 0}].runs_out || accepts(); }

 private:
  struct Ends {
    std::set<size_t> at;
    bool runs_out = false;  // the text ends inside
  };

  void merge(Ends& into, const Ends& from) {
    into.at.insert(from.at.begin(), from.at.end());
    into.runs_out |= from.runs_out;
  }

  // Texts that a character may be written as, compared with the text at `at`.
  void try_spelling(std::string_view spelled, size_t at, Ends& out) {
    std::string_view rest = text_.substr(at);
    if (rest.starts_with(spelled)) out.at.insert(at + spelled.size());
    else if (spelled.starts_with(rest)) out.runs_out = true;
  }

  Ends one_of(const CodePoints& set, Spelling spelling, size_t at) {
    Ends out;
    for (auto [a, b] : set.intervals()) {
      const std::string_view rest = text_.substr(at);
      spell(a, spelling, at, out);
      if (rest.empty()) continue;
      if (spelling == Spelling::json && a < 128)
        for (char32_t c = a; c <= std::min<char32_t>(b, 127); ++c) spell(c, spelling, at, out);
      const Utf8Step step = utf8_step(rest);
      if (step.part == Utf8Part::valid) {
        CodePoint c = decode_valid(rest.data());
        if (c.value >= a && c.value <= b) spell(c.value, spelling, at, out);
      } else if (step.part == Utf8Part::incomplete && step.bytes == rest.size()) {
        auto [low, high] = beginning_with(rest);
        if (std::max(low, a) <= std::min(high, b)) out.runs_out = true;
      }
    }
    return out;
  }
  // The code points whose encoding begins with these bytes, which are too few.
  static std::pair<char32_t, char32_t> beginning_with(std::string_view bytes) {
    const uint8_t lead = uint8_t(bytes[0]);
    const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t low = lead & (0x7F >> length), high = low;
    for (int i = 1; i < length; ++i) {
      low = low << 6 | (size_t(i) < bytes.size() ? uint8_t(bytes[size_t(i)]) & 63 : 0);
      high = high << 6 | (size_t(i) < bytes.size() ? uint8_t(bytes[size_t(i)]) & 63 : 63);
    }
    constexpr char32_t kFirst[] = {0x80, 0x800, 0x10000};
    return {std::max(low, kFirst[length - 2]), std::min<char32_t>(high, 0x10FFFF)};
  }
  void spell(char32_t c, Spelling spelling, size_t at, Ends& out) {
    std::string s;
    append_utf8(s, c);
    try_spelling(spelling == Spelling::json ? json_escaped(s) : s, at, out);
  }

  Ends ends(const Expr& e, size_t at) {
    Ends out;
    switch (e.kind) {
      case Expr::Kind::never: break;
      case Expr::Kind::empty: out.at.insert(at); break;
      case Expr::Kind::chars: return one_of(e.set, e.spelling, at);
      case Expr::Kind::bytes: try_spelling(e.text, at, out); break;
      case Expr::Kind::token: try_spelling(spell_token(e.id), at, out); break;
      case Expr::Kind::sequence: return in_sequence(e.parts, 0, at);
      case Expr::Kind::choice:
        for (const ExprPtr& p : e.parts) merge(out, ends(*p, at));
        break;
      case Expr::Kind::repeat: return repeated(e, at);
      case Expr::Kind::rule: return table_[{e.id, at}];
      case Expr::Kind::automaton: return by_states(e, at);
    }
    return out;
  }

  Ends in_sequence(const std::vector<ExprPtr>& parts, size_t i, size_t at) {
    Ends out, now{{at}, false};
    for (; i < parts.size(); ++i) {
      Ends next;
      next.runs_out = now.runs_out;
      for (size_t p : now.at) merge(next, ends(*parts[i], p));
      now = next;
    }
    return now;
  }

  Ends repeated(const Expr& e, size_t at) {
    Ends out, now{{at}, false};
    std::set<std::set<size_t>> seen;
    for (int64_t n = 0; e.max < 0 || n <= e.max; ++n) {
      if (n >= e.min) merge(out, now);
      out.runs_out |= now.runs_out;
      if (now.at.empty() || (n >= e.min && !seen.insert(now.at).second)) break;
      Ends next;
      if (e.max < 0 || n < e.max)
        for (size_t p : now.at) merge(next, ends(*e.parts[0], p));
      now = next;
    }
    return out;
  }

  Ends by_states(const Expr& e, size_t at) {
    Ends out;
    std::set<std::pair<uint32_t, size_t>> seen{{0, at}};
    std::vector<std::pair<uint32_t, size_t>> todo{{0, at}};
    while (!todo.empty()) {
      auto [s, p] = todo.back();
      todo.pop_back();
      const auto& state = e.dfa->states()[s];
      if (state.accepting) out.at.insert(p);
      for (const auto& edge : state.edges) {
        Ends one = one_of(edge.set, e.spelling, p);
        out.runs_out |= one.runs_out;
        for (size_t q : one.at)
          if (seen.insert({edge.to, q}).second) todo.push_back({edge.to, q});
      }
    }
    return out;
  }

  const Grammar& grammar_;
  std::string_view text_;
  std::map<std::pair<int32_t, size_t>, Ends> table_;
};

}  // namespace vl8::test

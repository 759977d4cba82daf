// Deterministic automata over code points, for what expressions alone cannot say: two patterns at once, a pattern and a length,
// any text but these. Always trimmed: from every state an accepting one is reached.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "grammar/expr.h"

namespace vl8 {

class CharDfa {
 public:
  struct Edge {
    CodePoints set;
    uint32_t to;
  };
  struct State {
    bool accepting = false;
    std::vector<Edge> edges;  // disjoint sets
  };

  // Of an expression without rules and tokens. Throws Error(unsupported) beyond `max_states`, naming `what`.
  static CharDfa of(const Expr& e, size_t max_states, std::string_view what);
  static CharDfa from_states(std::vector<State> states);  // trims them; the first one is the start
  static CharDfa any_of_length(int64_t min, int64_t max, size_t max_states, std::string_view what);

  static CharDfa both(const CharDfa& a, const CharDfa& b, size_t max_states, std::string_view what);
  CharDfa complement() const;  // every text that is not accepted

  bool empty() const { return states_.empty(); }  // accepts nothing
  bool accepts(std::string_view valid_utf8) const;
  int64_t shortest() const;                  // in code points; of a DFA that is not empty
  std::optional<int64_t> longest() const;    // none: unbounded
  const std::vector<State>& states() const { return states_; }  // the first one is the start

 private:
  void trim();
  std::vector<State> states_;
};

}  // namespace vl8

// Subset construction over a partition of the code points into the intervals that no edge tells apart.
#include "grammar/char_dfa.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

[[noreturn]] void too_large(std::string_view what, size_t max_states) {
  fail(ErrorKind::unsupported, "{}: its automaton needs more than {} states; use a shorter length or a simpler pattern", what,
       max_states);
}

// Thompson's construction: states with one edge over characters, or with empty edges.
struct Nfa {
  struct State {
    CodePoints set;
    uint32_t to = 0;
    std::vector<uint32_t> empty_edges;
  };
  std::vector<State> states;
  size_t max_states;
  std::string_view what;

  uint32_t add() {
    if (states.size() >= max_states) too_large(what, max_states);
    states.emplace_back();
    return uint32_t(states.size()) - 1;
  }
  void link(uint32_t from, uint32_t to) { states[from].empty_edges.push_back(to); }

  // Adds `e` behind state `from` and returns the state where it ends.
  uint32_t build(const Expr& e, uint32_t from) {
    using Kind = Expr::Kind;
    switch (e.kind) {
      case Kind::never: return add();
      case Kind::empty: return from;
      case Kind::chars: return over(e.set, from);
      case Kind::bytes: {
        for (size_t i = 0; i < e.text.size();) {
          CodePoint c = decode_valid(e.text.data() + i);
          from = over(CodePoints::one(c.value), from);
          i += c.bytes;
        }
        return from;
      }
      case Kind::sequence:
        for (const ExprPtr& p : e.parts) from = build(*p, from);
        return from;
      case Kind::choice: {
        uint32_t end = add();
        for (const ExprPtr& p : e.parts) {
          uint32_t start = add();
          link(from, start);
          uint32_t last = build(*p, start);  // not inside link(): states may move
          link(last, end);
        }
        return end;
      }
      case Kind::repeat: return build_repeat(e, from);
      case Kind::automaton: return build_automaton(*e.dfa, from);
      case Kind::rule:
      case Kind::token: break;
    }
    check(false, "CharDfa: the expression is not regular");
    return from;
  }

  uint32_t over(const CodePoints& set, uint32_t from) {
    uint32_t start = add(), end = add();
    link(from, start);
    states[start].set = set;
    states[start].to = end;
    return end;
  }

  uint32_t build_repeat(const Expr& e, uint32_t from) {
    const Expr& body = *e.parts[0];
    for (int64_t i = 0; i < e.min; ++i) from = build(body, from);
    if (e.max < 0) {
      uint32_t head = add();
      link(from, head);
      uint32_t last = build(body, head);
      link(last, head);
      uint32_t out = add();
      link(head, out);
      return out;
    }
    uint32_t end = add();
    for (int64_t i = e.min; i < e.max; ++i) {
      link(from, end);
      uint32_t start = add();
      link(from, start);
      from = build(body, start);
    }
    link(from, end);
    return end;
  }

  uint32_t build_automaton(const CharDfa& dfa, uint32_t from) {
    if (dfa.empty()) return add();
    const auto base = uint32_t(states.size());
    for (size_t i = 0; i < dfa.states().size(); ++i) add();
    uint32_t end = add();
    for (size_t i = 0; i < dfa.states().size(); ++i) {
      for (const CharDfa::Edge& edge : dfa.states()[i].edges) {
        uint32_t start = add();
        link(base + uint32_t(i), start);
        states[start].set = edge.set;
        states[start].to = base + edge.to;
      }
      if (dfa.states()[i].accepting) link(base + uint32_t(i), end);
    }
    link(from, base);
    return end;
  }

  // Only states with characters and the end matter behind the construction; the others are passed through.
  std::vector<uint32_t> closed(const std::vector<uint32_t>& set, uint32_t end) {
    marks.resize(states.size(), 0);
    ++mark;
    std::vector<uint32_t> out, todo;
    auto visit = [&](uint32_t s) {
      if (marks[s] == mark) return;
      marks[s] = mark;
      todo.push_back(s);
      if (s == end || !states[s].set.empty()) out.push_back(s);
    };
    for (uint32_t s : set) visit(s);
    while (!todo.empty()) {
      const uint32_t s = todo.back();
      todo.pop_back();
      if (++work > kMostWork) too_large(what, max_states);
      for (uint32_t t : states[s].empty_edges) visit(t);
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  static constexpr uint64_t kMostWork = 50'000'000;  // about a second: hostile patterns have many states that all stand for many
  std::vector<uint32_t> marks;
  uint32_t mark = 0;
  uint64_t work = 0;
};

// Splits overlapping labelled sets into disjoint intervals: calls f(first, last, indices of the sets that contain it).
template <typename F>
void each_part(const std::vector<std::pair<const CodePoints*, uint32_t>>& sets, F&& f) {
  struct Border {
    char32_t at;
    bool opens;
    uint32_t label;
  };
  std::vector<Border> borders;
  for (auto& [set, label] : sets)
    for (auto [a, b] : set->intervals()) {
      borders.push_back({a, true, label});
      borders.push_back({b + 1, false, label});
    }
  std::sort(borders.begin(), borders.end(), [](const Border& x, const Border& y) { return x.at < y.at; });
  std::map<uint32_t, int> open;
  for (size_t i = 0; i < borders.size();) {
    const char32_t at = borders[i].at;
    for (; i < borders.size() && borders[i].at == at; ++i) {
      int& n = open[borders[i].label];
      n += borders[i].opens ? 1 : -1;
      if (n == 0) open.erase(borders[i].label);
    }
    if (open.empty() || i == borders.size()) continue;
    std::vector<uint32_t> labels;
    for (auto& [label, _] : open) labels.push_back(label);
    f(at, borders[i].at - 1, labels);
  }
}

}  // namespace

CharDfa CharDfa::of(const Expr& e, size_t max_states, std::string_view what) {
  Nfa nfa{.states = {}, .max_states = max_states, .what = what, .marks = {}};
  uint32_t start = nfa.add();
  uint32_t end = nfa.build(e, start);
  CharDfa out;
  std::map<std::vector<uint32_t>, uint32_t> ids;
  std::vector<std::vector<uint32_t>> todo;
  auto intern = [&](std::vector<uint32_t> set) {
    auto [it, fresh] = ids.emplace(set, uint32_t(out.states_.size()));
    if (fresh) {
      if (out.states_.size() >= max_states) too_large(what, max_states);
      out.states_.push_back({std::binary_search(set.begin(), set.end(), end), {}});
      todo.push_back(std::move(set));
    }
    return it->second;
  };
  intern(nfa.closed({start}, end));
  for (size_t i = 0; i < todo.size(); ++i) {
    std::vector<std::pair<const CodePoints*, uint32_t>> sets;
    for (uint32_t s : todo[i])
      if (!nfa.states[s].set.empty()) sets.emplace_back(&nfa.states[s].set, nfa.states[s].to);
    std::map<uint32_t, std::vector<CodePoints::Interval>> edges;
    each_part(sets, [&](char32_t a, char32_t b, const std::vector<uint32_t>& targets) {
      edges[intern(nfa.closed(targets, end))].emplace_back(a, b);
    });
    for (auto& [to, intervals] : edges) out.states_[i].edges.push_back({CodePoints::of(std::move(intervals)), to});
  }
  out.trim();
  return out;
}

CharDfa CharDfa::from_states(std::vector<State> states) {
  CharDfa out;
  out.states_ = std::move(states);
  out.trim();
  return out;
}

CharDfa CharDfa::any_of_length(int64_t min, int64_t max, size_t max_states, std::string_view what) {
  const int64_t last = max < 0 ? min : max;
  if (last < 0 || size_t(last) + 1 > max_states) too_large(what, max_states);
  CharDfa out;
  for (int64_t i = 0; i <= last; ++i) {
    State s{i >= min, {}};
    if (i < last)
      s.edges.push_back({CodePoints::all(), uint32_t(i) + 1});
    else if (max < 0)
      s.edges.push_back({CodePoints::all(), uint32_t(i)});
    out.states_.push_back(std::move(s));
  }
  out.trim();
  return out;
}

CharDfa CharDfa::both(const CharDfa& a, const CharDfa& b, size_t max_states, std::string_view what) {
  CharDfa out;
  if (a.empty() || b.empty()) return out;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> ids;
  std::vector<std::pair<uint32_t, uint32_t>> todo;
  auto intern = [&](uint32_t x, uint32_t y) {
    auto [it, fresh] = ids.emplace(std::pair(x, y), uint32_t(out.states_.size()));
    if (fresh) {
      if (out.states_.size() >= max_states) too_large(what, max_states);
      out.states_.push_back({a.states_[x].accepting && b.states_[y].accepting, {}});
      todo.emplace_back(x, y);
    }
    return it->second;
  };
  intern(0, 0);
  for (size_t i = 0; i < todo.size(); ++i) {
    auto [x, y] = todo[i];
    for (const Edge& e : a.states_[x].edges)
      for (const Edge& f : b.states_[y].edges) {
        CodePoints common = e.set & f.set;
        if (common.empty()) continue;
        uint32_t to = intern(e.to, f.to);
        out.states_[i].edges.push_back({std::move(common), to});
      }
  }
  out.trim();
  return out;
}

CharDfa CharDfa::complement() const {
  CharDfa out;
  out.states_ = states_;
  if (out.states_.empty()) out.states_.emplace_back();
  const auto sink = uint32_t(out.states_.size());
  out.states_.push_back({false, {{CodePoints::all(), sink}}});
  for (State& s : out.states_) {
    CodePoints covered;
    for (const Edge& e : s.edges) covered = covered | e.set;
    CodePoints rest = ~covered;
    if (!rest.empty()) s.edges.push_back({std::move(rest), sink});
    s.accepting = !s.accepting;
  }
  out.trim();
  return out;
}

bool CharDfa::accepts(std::string_view text) const {
  if (states_.empty()) return false;
  uint32_t s = 0;
  for (size_t i = 0; i < text.size();) {
    CodePoint c = decode_valid(text.data() + i);
    i += c.bytes;
    const auto& edges = states_[s].edges;
    auto e = std::find_if(edges.begin(), edges.end(), [&](const Edge& x) { return x.set.contains(c.value); });
    if (e == edges.end()) return false;
    s = e->to;
  }
  return states_[s].accepting;
}

int64_t CharDfa::shortest() const {
  std::vector<int64_t> distance(states_.size(), -1);
  std::vector<uint32_t> queue{0};
  distance[0] = 0;
  for (size_t i = 0; i < queue.size(); ++i) {
    const State& s = states_[queue[i]];
    if (s.accepting) return distance[queue[i]];
    for (const Edge& e : s.edges)
      if (distance[e.to] < 0) distance[e.to] = distance[queue[i]] + 1, queue.push_back(e.to);
  }
  check(false, "CharDfa: no accepting state");
  return 0;
}

std::optional<int64_t> CharDfa::longest() const {
  // Longest path by repeated relaxation in topological order; a cycle (every state reaches the end) means no bound.
  std::vector<uint32_t> incoming(states_.size(), 0), order;
  for (const State& s : states_)
    for (const Edge& e : s.edges) ++incoming[e.to];
  for (uint32_t i = 0; i < states_.size(); ++i)
    if (!incoming[i]) order.push_back(i);
  std::vector<int64_t> length(states_.size(), 0);
  int64_t longest = 0;
  for (size_t i = 0; i < order.size(); ++i)
    for (const Edge& e : states_[order[i]].edges) {
      length[e.to] = std::max(length[e.to], length[order[i]] + 1);
      longest = std::max(longest, length[e.to]);
      if (--incoming[e.to] == 0) order.push_back(e.to);
    }
  if (order.size() < states_.size()) return std::nullopt;
  return longest;
}

// Keeps what is reachable (all constructions give only that) and reaches an accepting state.
void CharDfa::trim() {
  std::vector<std::vector<uint32_t>> into(states_.size());
  std::vector<char> alive(states_.size(), 0);
  std::vector<uint32_t> todo;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    for (const Edge& e : states_[i].edges) into[e.to].push_back(i);
    if (states_[i].accepting) alive[i] = 1, todo.push_back(i);
  }
  while (!todo.empty()) {
    uint32_t s = todo.back();
    todo.pop_back();
    for (uint32_t p : into[s])
      if (!alive[p]) alive[p] = 1, todo.push_back(p);
  }
  if (states_.empty() || !alive[0]) return states_.clear();
  std::vector<uint32_t> renamed(states_.size(), 0);
  std::vector<State> kept;
  for (uint32_t i = 0; i < states_.size(); ++i)
    if (alive[i]) renamed[i] = uint32_t(kept.size()), kept.push_back(std::move(states_[i]));
  for (State& s : kept) {
    std::erase_if(s.edges, [&](const Edge& e) { return !alive[e.to]; });
    for (Edge& e : s.edges) e.to = renamed[e.to];
  }
  states_ = std::move(kept);
}

}  // namespace vl8

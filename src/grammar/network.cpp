#include "grammar/network.h"

#include <algorithm>
#include <map>
#include <queue>
#include <span>
#include <tuple>

#include "core/error.h"
#include "grammar/char_dfa.h"
#include "grammar/utf8_ranges.h"

namespace vl8 {

const CodePoints& plain_characters() {
  static const CodePoints set = CodePoints::of({{0x20, '!'}, {'#', '['}, {']', 0x10FFFF}});
  return set;
}

std::string spell_token(int32_t token) {
  return {char(kTokenMark), char(token >> 16 & 255), char(token >> 8 & 255), char(token & 255)};
}

class NetworkBuilder {
 public:
  NetworkBuilder(const Grammar& grammar, const GrammarLimits& limits) : grammar_(grammar), limits_(limits) {}

  Network build() {
    if (grammar_.rules.size() > limits_.rules) too_large("rules", limits_.rules);
    find_nullable();
    for (const Rule& r : grammar_.rules) net_.rules_.push_back({.name = r.name});
    for (uint32_t r = 0; r < grammar_.rules.size(); ++r) define(r, *grammar_.rules[r].body);
    net_.root_ = add_rule("root");
    ExprPtr start = rule_ref(grammar_.start);
    define(net_.root_, *start);
    for (uint32_t i = 0; i < pending_.size(); ++i) define(pending_[i].first, *pending_[i].second);
    measure();
    find_closed_runs();
    const auto& root = net_.rules_[net_.root_];
    if (root.shortest >= Network::kDead)
      fail_input("no text satisfies the rule '{}'", grammar_.rules[size_t(grammar_.start)].name);
    return std::move(net_);
  }

 private:
  using Kind = Network::Kind;
  static constexpr int64_t kCopiedStates = 24;  // a repetition that would become larger counts instead

  [[noreturn]] static void too_large(std::string_view what, size_t limit) {
    fail(ErrorKind::unsupported, "the grammar needs more than {} {}", limit, what);
  }

  void find_nullable() {
    nullable_.assign(grammar_.rules.size(), 0);
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t r = 0; r < grammar_.rules.size(); ++r)
        if (!nullable_[r] && may_be_empty(*grammar_.rules[r].body)) nullable_[r] = 1, changed = true;
    }
  }

  bool may_be_empty(const Expr& e) const {
    auto empty = [&](const ExprPtr& p) { return may_be_empty(*p); };
    switch (e.kind) {
      case Expr::Kind::empty: return true;
      case Expr::Kind::sequence: return std::all_of(e.parts.begin(), e.parts.end(), empty);
      case Expr::Kind::choice: return std::any_of(e.parts.begin(), e.parts.end(), empty);
      case Expr::Kind::repeat: return e.min == 0 || empty(e.parts[0]);
      case Expr::Kind::rule: return nullable_[size_t(e.id)];
      case Expr::Kind::automaton: return e.dfa->states()[0].accepting;
      default: return false;
    }
  }

  uint32_t add_rule(std::string name) {
    if (net_.rules_.size() >= limits_.rules) too_large("rules", limits_.rules);
    net_.rules_.push_back({.name = std::move(name)});
    return uint32_t(net_.rules_.size()) - 1;
  }

  void define(uint32_t rule, const Expr& body) {
    rule_ = rule;
    const uint32_t end = add({.kind = Kind::final});
    const uint32_t start = build(body, end);
    auto& info = net_.rules_[rule];
    info.start = start;
    info.nullable = may_be_empty(body);
  }

  uint32_t add(Network::State s) {
    if (net_.states_.size() >= limits_.states) too_large("states", limits_.states);
    s.rule = rule_;
    net_.states_.push_back(s);
    return uint32_t(net_.states_.size()) - 1;
  }
  uint32_t add_split(const std::vector<uint32_t>& to) {
    if (to.size() == 1) return to[0];
    const auto first = uint32_t(net_.targets_.size());
    net_.targets_.insert(net_.targets_.end(), to.begin(), to.end());
    return add({.kind = Kind::split, .arg = first, .to = uint32_t(to.size())});
  }
  uint32_t add_bytes(const ByteSet& set, uint32_t to, bool plain_loop = false) {
    auto [it, fresh] = set_ids_.emplace(set, uint32_t(net_.sets_.size()));
    if (fresh) net_.sets_.push_back(set);
    return add({.kind = Kind::bytes, .plain_loop = plain_loop, .arg = it->second, .to = to});
  }
  uint32_t add_call(uint32_t rule, uint32_t to, bool no_skip) {
    return add({.kind = Kind::call, .no_skip = no_skip, .arg = rule, .to = to});
  }

  // All builders take the state behind and return the state in front: text is built from its end.
  uint32_t build(const Expr& e, uint32_t to) {
    switch (e.kind) {
      case Expr::Kind::never: return add_bytes(ByteSet{}, to);
      case Expr::Kind::empty: return to;
      case Expr::Kind::chars: return build_chars(e.set, e.spelling, to, false);
      case Expr::Kind::bytes: return build_literal(e.text, to);
      case Expr::Kind::token: return build_literal(spell_token(e.id), to);
      case Expr::Kind::sequence:
        for (size_t i = e.parts.size(); i-- > 0;) to = build(*e.parts[i], to);
        return to;
      case Expr::Kind::choice: return build_choice(e, to);
      case Expr::Kind::repeat: return build_repeat(e, to);
      case Expr::Kind::rule: return add_call(uint32_t(e.id), to, false);
      case Expr::Kind::automaton: return build_automaton(*e.dfa, e.spelling, to);
    }
    return to;
  }

  uint32_t build_literal(std::string_view text, uint32_t to) {
    for (size_t i = text.size(); i-- > 0;) {
      ByteSet one;
      one.add(uint8_t(text[i]));
      to = add_bytes(one, to);
    }
    return to;
  }

  // Literals share their prefixes, so that an enumeration of hundreds is one path at a time.
  uint32_t build_choice(const Expr& e, uint32_t to) {
    std::vector<std::string_view> literals;
    std::vector<uint32_t> starts;
    for (const ExprPtr& p : e.parts)
      if (p->kind == Expr::Kind::bytes) literals.push_back(p->text);
    std::sort(literals.begin(), literals.end());
    literals.erase(std::unique(literals.begin(), literals.end()), literals.end());
    if (!literals.empty()) starts.push_back(build_trie(literals, 0, to));
    for (const ExprPtr& p : e.parts)
      if (p->kind != Expr::Kind::bytes) starts.push_back(build(*p, to));
    return add_split(starts);
  }

  uint32_t build_trie(std::span<const std::string_view> sorted, size_t depth, uint32_t to) {
    std::vector<uint32_t> starts;
    size_t i = 0;
    if (sorted[0].size() == depth) starts.push_back(to), i = 1;
    for (size_t end; i < sorted.size(); i = end) {
      const char byte = sorted[i][depth];
      for (end = i + 1; end < sorted.size() && sorted[end][depth] == byte;) ++end;
      if (end == i + 1) {
        starts.push_back(build_literal(sorted[i].substr(depth), to));
        continue;
      }
      const auto group = sorted.subspan(i, end - i);
      size_t common = depth + 1;
      while (common < group.front().size() && common < group.back().size() && group.front()[common] == group.back()[common])
        ++common;
      starts.push_back(build_literal(group.front().substr(depth, common - depth), build_trie(group, common, to)));
    }
    return add_split(starts);
  }

  uint32_t build_chars(const CodePoints& set, Spelling spelling, uint32_t to, bool plain_loop) {
    std::vector<uint32_t> starts;
    const bool all_plain = plain_loop && set.includes(plain_characters());
    if (spelling == Spelling::plain) {
      build_utf8(set, to, all_plain, starts);
    } else {
      build_utf8(set & plain_characters(), to, all_plain, starts);
      build_escapes(set, to, starts);
    }
    return add_split(starts);
  }

  void build_utf8(const CodePoints& set, uint32_t to, bool plain_loop, std::vector<uint32_t>& starts) {
    std::map<std::pair<ByteRanges, uint32_t>, uint32_t> suffixes;
    std::map<uint32_t, ByteSet> firsts;  // by the state behind the first byte
    for (const ByteRanges& r : utf8_ranges(set)) {
      uint32_t state = to;
      for (size_t i = r.size(); i-- > 1;) {
        auto [it, fresh] = suffixes.try_emplace({ByteRanges(r.begin() + int64_t(i), r.end()), to}, 0);
        if (fresh) {
          ByteSet bytes;
          bytes.add(r[i].first, r[i].last);
          it->second = add_bytes(bytes, state);
        }
        state = it->second;
      }
      firsts[state].add(r[0].first, r[0].last);
    }
    for (auto& [state, bytes] : firsts) starts.push_back(add_bytes(bytes, state, plain_loop && state == to));
  }

  // Characters that a JSON string must escape, in their shortest spelling.
  void build_escapes(const CodePoints& set, uint32_t to, std::vector<uint32_t>& starts) {
    constexpr std::pair<char, char> kShort[] = {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};
    ByteSet letters, digits[2];
    bool any_short = false, any_digit[2] = {false, false};
    for (char32_t c = 0; c < 128; ++c) {
      if (!set.contains(c) || plain_characters().contains(c)) continue;
      auto known = std::find_if(std::begin(kShort), std::end(kShort), [&](auto& s) { return char32_t(s.first) == c; });
      if (known != std::end(kShort)) {
        letters.add(uint8_t(known->second));
        any_short = true;
      } else {
        digits[c >> 4].add(uint8_t("0123456789abcdef"[c & 15]));
        any_digit[c >> 4] = true;
      }
    }
    std::vector<uint32_t> behind;
    if (any_short) behind.push_back(add_bytes(letters, to));
    for (int high = 0; high < 2; ++high)
      if (any_digit[high]) behind.push_back(build_literal(high ? "u001" : "u000", add_bytes(digits[high], to)));
    if (!behind.empty()) starts.push_back(build_literal("\\", add_split(behind)));
  }

  uint32_t build_automaton(const CharDfa& dfa, Spelling spelling, uint32_t to) {
    const auto& states = dfa.states();
    std::vector<uint32_t> heads;
    for (size_t i = 0; i < states.size(); ++i) heads.push_back(add({.kind = Kind::split}));
    for (size_t i = 0; i < states.size(); ++i) {
      std::vector<uint32_t> starts;
      for (const CharDfa::Edge& e : states[i].edges) starts.push_back(build_chars(e.set, spelling, heads[e.to], e.to == i));
      if (states[i].accepting) starts.push_back(to);
      set_split(heads[i], starts);
    }
    return heads[0];
  }
  void set_split(uint32_t state, const std::vector<uint32_t>& to) {
    net_.states_[state].arg = uint32_t(net_.targets_.size());
    net_.states_[state].to = uint32_t(to.size());
    net_.targets_.insert(net_.targets_.end(), to.begin(), to.end());
  }

  // States a copy would take, counted no further than `limit`.
  int64_t size_of(const Expr& e, int64_t limit) const {
    switch (e.kind) {
      case Expr::Kind::bytes: return int64_t(e.text.size());
      case Expr::Kind::chars: return e.set.intervals().back().second < 0x80 ? 1 : 12;
      case Expr::Kind::automaton: return int64_t(e.dfa->states().size()) * 4;
      case Expr::Kind::sequence:
      case Expr::Kind::choice:
      case Expr::Kind::repeat: {
        int64_t n = 0;
        for (const ExprPtr& p : e.parts)
          if ((n += size_of(*p, limit)) > limit) return n;
        return e.kind == Expr::Kind::repeat ? n * std::max<int64_t>(1, std::max(e.min, e.max)) : n + 1;
      }
      default: return 1;
    }
  }

  uint32_t build_repeat(const Expr& e, uint32_t to) {
    const ExprPtr& body = e.parts[0];
    const bool empty_body = may_be_empty(*body);
    const int64_t min = empty_body ? 0 : e.min;
    const int64_t copies = e.max < 0 ? min : e.max;
    if (copies > 1 && copies * size_of(*body, kCopiedStates) > kCopiedStates) return add_call(counted_rule(e, min, empty_body), to, false);
    if (e.max < 0) {
      const uint32_t head = add({.kind = Kind::split});
      set_split(head, {build_loop_body(*body, head), to});
      to = head;
    } else {
      const uint32_t end = to;
      for (int64_t i = min; i < e.max; ++i) to = add_split({build(*body, to), end});
    }
    for (int64_t i = 0; i < min; ++i) to = build(*body, to);
    return to;
  }

  // The body of a loop; where it is, or offers, one character of at least all plain ones, that edge is marked.
  uint32_t build_loop_body(const Expr& body, uint32_t head) {
    if (body.kind == Expr::Kind::chars) return build_chars(body.set, body.spelling, head, true);
    if (body.kind != Expr::Kind::choice) return build(body, head);
    std::vector<uint32_t> starts;
    for (const ExprPtr& p : body.parts)
      starts.push_back(p->kind == Expr::Kind::chars ? build_chars(p->set, p->spelling, head, true) : build(*p, head));
    return add_split(starts);
  }

  uint32_t counted_rule(const Expr& e, int64_t min, bool empty_body) {
    auto [it, fresh] = counted_.try_emplace({e.parts[0].get(), min, e.max}, 0);
    if (!fresh) return it->second;
    const std::string name = net_.rules_[rule_].name;
    const uint32_t rule = it->second = add_rule(name);
    net_.rules_[rule].counted = true;
    net_.rules_[rule].min = min;
    net_.rules_[rule].max = e.max;
    net_.rules_[rule].nullable = min == 0;
    const uint32_t outer = rule_;
    if (empty_body) {  // rounds are calls of a rule, and an empty round is no round
      const uint32_t inner = add_rule(name);
      pending_.emplace_back(inner, e.parts[0]);
      net_.rules_[inner].nullable = true;
      rule_ = rule;
      const uint32_t end = add({.kind = Kind::final});
      net_.rules_[rule].start = add_call(inner, end, true);
    } else {
      rule_ = rule;
      const uint32_t end = add({.kind = Kind::final});
      const uint32_t start = build_loop_body(*e.parts[0], end);
      net_.rules_[rule].start = start;
    }
    rule_ = outer;
    return rule;
  }

  // Knuth's generalisation of Dijkstra's algorithm (1977): the shortest text of every state and rule, in increasing order.
  void measure() {
    auto& states = net_.states_;
    auto& rules = net_.rules_;
    for (auto& s : states) s.distance = Network::kDead;
    for (auto& r : rules) r.shortest = Network::kDead;
    std::vector<std::vector<uint32_t>> into(states.size()), callers(rules.size()), starts_of(states.size());
    for (uint32_t i = 0; i < states.size(); ++i) {
      const auto& s = states[i];
      if (s.kind == Kind::split)
        for (uint32_t t = 0; t < s.to; ++t) into[net_.targets_[s.arg + t]].push_back(i);
      else if (s.kind != Kind::final)
        into[s.to].push_back(i);
      if (s.kind == Kind::call) callers[s.arg].push_back(i);
    }
    for (uint32_t r = 0; r < rules.size(); ++r) starts_of[rules[r].start].push_back(r);

    using Entry = std::pair<int64_t, uint32_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
    auto offer = [&](uint32_t s, int64_t d) {
      if (d < states[s].distance) states[s].distance = d, queue.emplace(d, s);
    };
    auto settle_rule = [&](uint32_t r, int64_t shortest) {
      if (shortest >= rules[r].shortest) return;
      rules[r].shortest = shortest;
      for (uint32_t c : callers[r])
        if (states[states[c].to].distance < Network::kDead) offer(c, shortest + states[states[c].to].distance);
    };
    for (uint32_t i = 0; i < states.size(); ++i)
      if (states[i].kind == Kind::final) offer(i, 0);
    for (uint32_t r = 0; r < rules.size(); ++r)
      if (rules[r].counted && rules[r].min == 0) rules[r].shortest = 0;
    while (!queue.empty()) {
      auto [d, s] = queue.top();
      queue.pop();
      if (d > states[s].distance) continue;
      for (uint32_t r : starts_of[s]) {
        const int64_t rounds = rules[r].counted ? rules[r].min : 1;
        settle_rule(r, rounds > 0 && d > Network::kDead / rounds ? Network::kDead - 1 : d * rounds);
      }
      for (uint32_t p : into[s]) {
        const auto& from = states[p];
        if (from.kind == Kind::split) offer(p, d);
        if (from.kind == Kind::bytes && net_.sets_[from.arg] != ByteSet{}) offer(p, d + 1);
        if (from.kind == Kind::call && rules[from.arg].shortest < Network::kDead) offer(p, rules[from.arg].shortest + d);
      }
    }
  }

  // A plain character may be the next byte from here on, whoever called.
  bool plain_may_follow(uint32_t from, const std::vector<std::vector<uint32_t>>& callers) const {
    std::vector<uint32_t> todo{from};
    std::map<uint32_t, bool> seen{{from, true}};
    auto visit = [&](uint32_t s) {
      if (seen.emplace(s, true).second) todo.push_back(s);
    };
    while (!todo.empty()) {
      const auto& s = net_.states_[todo.back()];
      todo.pop_back();
      switch (s.kind) {
        case Kind::final:
          for (uint32_t c : callers[s.rule]) visit(net_.states_[c].to);
          if (net_.rules_[s.rule].counted) visit(net_.rules_[s.rule].start);
          break;
        case Kind::split:
          for (uint32_t t = 0; t < s.to; ++t) visit(net_.targets_[s.arg + t]);
          break;
        case Kind::call:
          visit(net_.rules_[s.arg].start);
          if (net_.rules_[s.arg].nullable) visit(s.to);
          break;
        case Kind::bytes:
          for (int b = 0x20; b < 0x100; ++b)
            if (b != '"' && b != '\\' && net_.sets_[s.arg].contains(uint8_t(b))) return true;
      }
    }
    return false;
  }

  void find_closed_runs() {
    for (auto& r : net_.rules_) r.closes_run = r.counted;
    std::vector<std::vector<uint32_t>> callers(net_.rules_.size());
    for (uint32_t i = 0; i < net_.states_.size(); ++i)
      if (net_.states_[i].kind == Kind::call) callers[net_.states_[i].arg].push_back(i);
    std::map<uint32_t, bool> known;
    for (const auto& s : net_.states_) {
      if (s.kind != Kind::call || !net_.rules_[s.arg].closes_run) continue;
      auto [it, fresh] = known.try_emplace(s.to, false);
      if (fresh) it->second = plain_may_follow(s.to, callers);
      if (it->second) net_.rules_[s.arg].closes_run = false;
    }
  }

  const Grammar& grammar_;
  const GrammarLimits& limits_;
  Network net_;
  uint32_t rule_ = 0;
  std::vector<char> nullable_;
  std::map<ByteSet, uint32_t> set_ids_;
  std::map<std::tuple<const Expr*, int64_t, int64_t>, uint32_t> counted_;
  std::vector<std::pair<uint32_t, ExprPtr>> pending_;
};

Network Network::build(const Grammar& grammar, const GrammarLimits& limits) { return NetworkBuilder(grammar, limits).build(); }

}  // namespace vl8

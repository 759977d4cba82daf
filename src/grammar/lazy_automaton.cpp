#include "grammar/lazy_automaton.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace vl8 {
namespace {

using Kind = Network::Kind;

uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * 0x9e3779b97f4a7c15ull ^ (h >> 29); }
uint64_t hash_of(const LazyAutomaton::Item& i) { return mix(mix(mix(0x51ed27, i.state), i.rounds), i.origin); }

constexpr size_t kLinear = 16;  // below so many items a scan beats a table

}  // namespace

LazyAutomaton::LazyAutomaton(std::shared_ptr<const Network> network, const GrammarLimits& limits, int64_t reach)
    : network_(std::move(network)), limits_(limits), reach_(reach) {
  sets_.push_back(std::make_unique<Set>());  // kNone
  sets_[kNone]->next = std::make_unique<std::array<SetId, 256>>();
  sets_[kNone]->next->fill(kNone);
  sets_[kNone]->representative = kNone;
  found_.clear();
  add({network_->rules()[network_->root()].start, 0, kRoot});
  close();
  start_ = intern(std::move(found_), found_accepting_);
}

// Splits are followed at once; what has no way to its end is left out.
void LazyAutomaton::add(const Item& item) {
  if (network_->states()[item.state].distance >= Network::kDead) return;
  if (found_.size() < kLinear) {
    for (const Item& f : found_)
      if (f == item) return;
  } else {
    if (found_index_.empty())
      for (uint32_t i = 0; i < found_.size(); ++i) found_index_[hash_of(found_[i])].push_back(i);
    auto& bucket = found_index_[hash_of(item)];
    for (uint32_t i : bucket)
      if (found_[i] == item) return;
    bucket.push_back(uint32_t(found_.size()));
  }
  if (found_.size() >= limits_.items)
    fail(ErrorKind::unsupported, "the grammar is too ambiguous: more than {} ways to read the text are open at one point", limits_.items);
  found_.push_back(item);
}

void LazyAutomaton::close() {
  found_accepting_ = false;
  for (size_t i = 0; i < found_.size(); ++i) {
    const Item item = found_[i];
    const Network::State& s = network_->states()[item.state];
    switch (s.kind) {
      case Kind::split:
        for (uint32_t t = 0; t < s.to; ++t) add({network_->targets()[s.arg + t], item.rounds, item.origin});
        break;
      case Kind::bytes: break;
      case Kind::call: {
        const auto& rule = network_->rules()[s.arg];
        if (rule.nullable && !s.no_skip) add({s.to, item.rounds, item.origin});
        add({rule.start, 0, kSelf});
        break;
      }
      case Kind::final: {
        const auto& rule = network_->rules()[s.rule];
        const int64_t done = int64_t(item.rounds) + 1;
        if (rule.counted && (rule.max < 0 || done < rule.max))
          add({rule.start, uint32_t(rule.max < 0 ? std::min(done, rule.min) : done), item.origin});
        if (!rule.counted || done >= rule.min) complete(s.rule, item.origin);
        break;
      }
    }
  }
  found_index_.clear();
  std::erase_if(found_, [&](const Item& i) {
    const Kind k = network_->states()[i.state].kind;
    return k == Kind::split || k == Kind::final;
  });
}

template <typename F>
void LazyAutomaton::each_waiting(const Set& s, uint32_t rule, F&& f) const {
  auto rule_of = [&](uint32_t i) { return network_->states()[s.items[i].state].arg; };
  auto it = std::lower_bound(s.calls.begin(), s.calls.end(), rule, [&](uint32_t i, uint32_t r) { return rule_of(i) < r; });
  for (; it != s.calls.end() && rule_of(*it) == rule; ++it) f(s.items[*it]);
}

// A rule that began in an earlier set ends here. One that began here was empty: its callers have skipped it already.
void LazyAutomaton::complete(uint32_t rule, SetId origin) {
  if (origin == kSelf) return;
  if (origin == kRoot) {
    found_accepting_ = true;
    return;
  }
  each_waiting(*sets_[origin], rule, [&](const Item& w) {
    add({network_->states()[w.state].to, w.rounds, w.origin == kSelf ? origin : w.origin});
  });
}

SetId LazyAutomaton::step_slowly(SetId from, uint8_t byte) {
  if (bytes_ > 2 * limits_.cache_bytes)
    fail(ErrorKind::unsupported, "the grammar is too ambiguous: deciding one token needs more than {} MB", limits_.cache_bytes >> 19);
  found_.clear();
  for (const Item& item : sets_[from]->items) {
    const Network::State& s = network_->states()[item.state];
    if (s.kind == Kind::bytes && network_->sets()[s.arg].contains(byte))
      add({s.to, item.rounds, item.origin == kSelf ? from : item.origin});
  }
  SetId to = kNone;
  if (!found_.empty()) {
    close();
    to = intern(std::move(found_), found_accepting_);
  }
  Set& s = *sets_[from];
  if (!s.next) {
    s.next = std::make_unique<std::array<SetId, 256>>();
    s.next->fill(kUnknown);
    bytes_ += sizeof *s.next;
  }
  (*s.next)[byte] = to;
  return to;
}

SetId LazyAutomaton::intern(std::vector<Item> items, bool accepting) {
  std::sort(items.begin(), items.end());
  uint64_t h = accepting;
  for (const Item& i : items) h = mix(h, hash_of(i));
  auto [first, last] = by_hash_.equal_range(h);
  for (auto it = first; it != last; ++it)
    if (sets_[it->second]->items == items && sets_[it->second]->accepting == accepting) return it->second;
  check(sets_.size() < kRoot, "LazyAutomaton: too many sets");
  auto s = std::make_unique<Set>();
  s->items.assign(items.begin(), items.end());
  s->accepting = accepting;
  for (uint32_t i = 0; i < s->items.size(); ++i) {
    const Network::State& state = network_->states()[s->items[i].state];
    if (state.kind == Kind::call)
      s->calls.push_back(i);
    else
      ++s->scans;
  }
  std::stable_sort(s->calls.begin(), s->calls.end(), [&](uint32_t a, uint32_t b) {
    return network_->states()[s->items[a].state].arg < network_->states()[s->items[b].state].arg;
  });
  describe_runs(*s);
  bytes_ += sizeof(Set) + s->items.size() * sizeof(Item) + s->calls.size() * 4 + 64;
  const auto id = SetId(sets_.size());
  sets_.push_back(std::move(s));
  by_hash_.emplace(h, id);
  return id;
}

void LazyAutomaton::describe_runs(Set& s) const {
  const Item* loop = nullptr;
  for (const Item& i : s.items) {
    const Network::State& state = network_->states()[i.state];
    if (state.kind != Kind::bytes || !state.plain_loop) continue;
    const auto& rule = network_->rules()[state.rule];
    const bool bounded = rule.counted && rule.max >= 0 && network_->states()[state.to].kind == Kind::final;
    const int64_t run = bounded ? rule.max - int64_t(i.rounds) : std::numeric_limits<int64_t>::max();
    if (run > s.plain_run) s.plain_run = run, loop = &i;
  }
  if (!loop) return;
  const uint32_t loop_rule = network_->states()[loop->state].rule;
  auto takes_plain = [&](const Item& i) {
    const Network::State& state = network_->states()[i.state];
    if (state.kind != Kind::bytes || &i == loop) return false;
    // The loop's own characters of several bytes begin beyond ASCII and belong to the same round.
    const bool own = state.rule == loop_rule && i.rounds == loop->rounds && i.origin == loop->origin;
    for (int b = 0x20; b < (own ? 0x80 : 0x100); ++b)
      if (b != '"' && b != '\\' && network_->sets()[state.arg].contains(uint8_t(b))) return true;
    return false;
  };
  s.plain_only = network_->rules()[loop_rule].closes_run && std::none_of(s.items.begin(), s.items.end(), takes_plain);
}

// --- How far it is to an end ---

int64_t LazyAutomaton::after_round(const Item& item) const {
  const auto& rule = network_->rules()[network_->states()[item.state].rule];
  if (!rule.counted) return 0;
  const int64_t missing = rule.min - int64_t(item.rounds) - 1;
  return missing > 0 ? missing * network_->states()[rule.start].distance : 0;
}

int64_t LazyAutomaton::return_cost(SetId origin, uint32_t rule) const {
  if (origin == kRoot) return 0;
  for (auto& [r, cost] : sets_[origin]->returns)
    if (r == rule) return cost;
  return Network::kDead;
}

// Sets began after the sets they name, so ascending order is a valid one; no recursion, since nesting may be deep.
std::vector<SetId> LazyAutomaton::unmeasured_below(SetId top) const {
  std::vector<SetId> todo{top}, out;
  std::unordered_map<SetId, bool> in{{top, true}};
  while (!todo.empty()) {
    const SetId id = todo.back();
    todo.pop_back();
    if (sets_[id]->shortest >= 0) continue;
    out.push_back(id);
    for (const Item& i : sets_[id]->items)
      if (i.origin != kSelf && i.origin != kRoot && in.emplace(i.origin, true).second) todo.push_back(i.origin);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void LazyAutomaton::measure(SetId id) {
  Set& s = *sets_[id];
  for (uint32_t i : s.calls) {
    const uint32_t rule = network_->states()[s.items[i].state].arg;
    if (s.returns.empty() || s.returns.back().first != rule) s.returns.emplace_back(rule, Network::kDead);
  }
  auto behind = [&](const Item& i) {  // bytes after the end of this item's round
    return after_round(i) + return_cost(i.origin == kSelf ? id : i.origin, network_->states()[i.state].rule);
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t c : s.calls) {
      const Item& i = s.items[c];
      const Network::State& state = network_->states()[i.state];
      const int64_t cost = network_->states()[state.to].distance + behind(i);
      auto r = std::lower_bound(s.returns.begin(), s.returns.end(), std::pair<uint32_t, int64_t>(state.arg, 0));
      if (cost < r->second) r->second = cost, changed = true;
    }
  }
  s.shortest = s.accepting ? 0 : Network::kDead;
  for (const Item& i : s.items)
    if (network_->states()[i.state].kind == Kind::bytes)
      s.shortest = std::min(s.shortest, network_->states()[i.state].distance + behind(i));
}

int64_t LazyAutomaton::shortest_rest(SetId s) {
  if (sets_[s]->shortest < 0)
    for (SetId id : unmeasured_below(s)) measure(id);
  return sets_[s]->shortest;
}

std::string LazyAutomaton::shortest_text(SetId s) {
  std::string out;
  for (int64_t rest = shortest_rest(s); rest > 0; --rest) {
    if (sets_[s]->shortest_byte < 0)
      for (int b = 0; b < 256 && sets_[s]->shortest_byte < 0; ++b) {
        const SetId next = step(s, uint8_t(b));
        if (next != kNone && shortest_rest(next) == rest - 1) sets_[s]->shortest_byte = int16_t(b);
      }
    check(sets_[s]->shortest_byte >= 0, "LazyAutomaton: the shortest rest of {} bytes is not found", rest);
    const auto byte = uint8_t(sets_[s]->shortest_byte);
    out += char(byte);
    s = step(s, byte);
  }
  return out;
}

// --- Sets that look the same from near ---

uint32_t LazyAutomaton::clamp(const Item& item) const {
  const auto& rule = network_->rules()[network_->states()[item.state].rule];
  if (!rule.counted || rule.max < 0) return item.rounds;
  const int64_t far = reach_ + 2, n = item.rounds;
  if (rule.max - n <= far) return item.rounds;
  if (n >= rule.min) return uint32_t(rule.min);
  return rule.min - n > far ? 0 : item.rounds;
}

SetId LazyAutomaton::representative(SetId top) {
  if (sets_[top]->representative != kUnknown) return sets_[top]->representative;
  std::vector<SetId> todo{top}, order;
  std::unordered_map<SetId, bool> in{{top, true}};
  while (!todo.empty()) {
    const SetId id = todo.back();
    todo.pop_back();
    order.push_back(id);
    for (const Item& i : sets_[id]->items)
      if (i.origin != kSelf && i.origin != kRoot && sets_[i.origin]->representative == kUnknown && in.emplace(i.origin, true).second)
        todo.push_back(i.origin);
  }
  std::sort(order.begin(), order.end());
  for (SetId id : order) {
    std::vector<Item> items = sets_[id]->items;
    for (Item& i : items) {
      i.rounds = clamp(i);
      if (i.origin != kSelf && i.origin != kRoot) i.origin = sets_[i.origin]->representative;
    }
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
    const SetId r = intern(std::move(items), sets_[id]->accepting);
    sets_[id]->representative = r;
    sets_[r]->representative = r;
  }
  return sets_[top]->representative;
}

SetId LazyAutomaton::import_from(const LazyAutomaton& other, SetId top) {
  std::vector<SetId> todo{top}, order;
  std::unordered_map<SetId, SetId> renamed{{top, kNone}};
  while (!todo.empty()) {
    const SetId id = todo.back();
    todo.pop_back();
    order.push_back(id);
    for (const Item& i : other.sets_[id]->items)
      if (i.origin != kSelf && i.origin != kRoot && renamed.emplace(i.origin, kNone).second) todo.push_back(i.origin);
  }
  std::sort(order.begin(), order.end());
  for (SetId id : order) {
    std::vector<Item> items = other.sets_[id]->items;
    for (Item& i : items)
      if (i.origin != kSelf && i.origin != kRoot) i.origin = renamed[i.origin];
    renamed[id] = id == kNone ? kNone : intern(std::move(items), other.sets_[id]->accepting);
  }
  return renamed[top];
}

std::string LazyAutomaton::describe(SetId s) const {
  std::string out = fmt::format("set {}{}:", s, accepting(s) ? " (complete)" : "");
  for (const Item& i : sets_[s]->items) {
    const Network::State& state = network_->states()[i.state];
    out += fmt::format(" {}.{}{}@{}", network_->rules()[state.rule].name, i.state, state.kind == Kind::call ? "!" : "",
                       i.origin == kSelf ? "self" : i.origin == kRoot ? "root" : std::to_string(i.origin));
  }
  return out;
}

}  // namespace vl8

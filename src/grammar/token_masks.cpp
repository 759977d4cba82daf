#include "grammar/token_masks.h"

#include <algorithm>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr size_t kMostAfter = 32;

void set_bit(std::span<uint32_t> bits, int32_t token) { bits[size_t(token) / 32] |= 1u << (token % 32); }

}  // namespace

TokenMasks::TokenMasks(std::shared_ptr<const Network> network, std::shared_ptr<const TokenVocabulary> vocabulary,
                       const GrammarLimits& limits)
    : vocabulary_(std::move(vocabulary)),
      limits_(limits),
      automaton_(std::move(network), limits, vocabulary_->longest_bytes()),
      path_(size_t(vocabulary_->longest_bytes()) + 1) {}

template <typename F>
void TokenMasks::walk(const std::vector<TokenVocabulary::Node>& trie, SetId start, F&& on_token) {
  path_[0] = {start, automaton_.known_steps(start)};
  const auto* nodes = trie.data();
  const auto size = uint32_t(trie.size());
  for (uint32_t i = 0; i < size;) {
    const auto& n = nodes[i];
    Step& from = path_[n.depth];
    SetId next = from.next ? from.next[n.byte] : LazyAutomaton::kUnknown;
    if (next == LazyAutomaton::kUnknown) {
      next = automaton_.step(from.set, n.byte);
      from.next = automaton_.known_steps(from.set);
    }
    if (next == LazyAutomaton::kNone) {
      i = n.end;
      continue;
    }
    path_[size_t(n.depth) + 1] = {next, automaton_.known_steps(next)};
    if (n.token >= 0) on_token(n.token, next);
    ++i;
  }
}

TokenMasks::Mask TokenMasks::make(SetId set) {
  Mask m;
  m.words.assign(vocabulary_->words(), 0);
  size_t count = 0;
  SetId last = LazyAutomaton::kNone;
  bool overflow = false;
  auto allow = [&](int32_t token, SetId after) {
    set_bit(m.words, token);
    ++count;
    if (after == last) return;
    last = after;
    m.longest_rest = std::max(m.longest_rest, automaton_.shortest_rest(after));
    if (!overflow && std::find(m.after.begin(), m.after.end(), after) == m.after.end()) m.after.push_back(after);
    overflow |= m.after.size() > kMostAfter;
  };
  const int64_t run = automaton_.plain_run(set);
  const bool covered = run >= vocabulary_->longest_plain() || (run >= 0 && automaton_.plain_run_only(set));
  if (covered) {
    auto ready = vocabulary_->plain_up_to(run);
    std::copy(ready.begin(), ready.end(), m.words.begin());
    m.after = {automaton_.step(set, 'a')};  // more of the run brings an end no farther away
    m.longest_rest = automaton_.shortest_rest(m.after[0]);
    count = vocabulary_->words();  // many
  } else {
    walk(vocabulary_->plain(), set, allow);
  }
  walk(vocabulary_->others(), set, allow);
  if (overflow) m.after.clear();
  if (count < vocabulary_->words() / 2) {  // a list is smaller
    m.tokens.reserve(count);
    for (size_t w = 0; w < m.words.size(); ++w)
      for (uint32_t bits = m.words[w]; bits; bits &= bits - 1) m.tokens.push_back(int32_t(w * 32) + __builtin_ctz(bits));
    m.words = {};
  }
  return m;
}

TokenMasks::Mask& TokenMasks::of(SetId set) {
  set = automaton_.representative(set);
  auto it = masks_.find(set);
  if (it == masks_.end()) {
    it = masks_.emplace(set, make(set)).first;
    mask_bytes_ += sizeof(Mask) + it->second.words.size() * 4 + it->second.tokens.size() * 4 + 64;
  }
  return it->second;
}

void TokenMasks::fill(SetId set, std::span<uint32_t> bits) {
  const Mask& m = of(set);
  std::copy(m.words.begin(), m.words.end(), bits.begin());
  std::fill(bits.begin() + int64_t(m.words.size()), bits.end(), 0u);
  for (int32_t t : m.tokens) set_bit(bits, t);
}

bool TokenMasks::is_far(SetId set, int64_t tokens) {
  Mask& m = of(set);
  if (m.longest_rest + 2 <= tokens) return true;
  if (m.after.empty()) return false;
  if (m.longest_tokens < 0)
    for (SetId after : m.after) m.longest_tokens = std::max(m.longest_tokens, tokens_to_end(after, 0));
  return m.longest_tokens + 2 <= tokens;
}

// At most as many as bytes; the exact number of a greedy spelling only where that is not enough. Greedy spelling of the first
// shortest text keeps its promise: after its first token the rest is the first shortest text there, spelled by the same tokens.
int64_t TokenMasks::tokens_to_end(SetId set, int64_t enough) {
  const int64_t bytes = automaton_.shortest_rest(set);
  if (bytes <= enough) return bytes;
  auto [it, fresh] = greedy_.try_emplace(set, 0);
  if (fresh) it->second = vocabulary_->greedy_count(automaton_.shortest_text(set));
  return it->second;
}

bool TokenMasks::fill_within(SetId set, int64_t tokens, std::span<uint32_t> bits) {
  std::fill(bits.begin(), bits.end(), 0u);
  const int64_t left = tokens - 2;  // without this token and the end token
  bool any = false;
  if (left < 0) return false;
  SetId last = LazyAutomaton::kNone;
  bool last_fits = false;
  for (const auto* trie : {&vocabulary_->plain(), &vocabulary_->others()})
    walk(*trie, set, [&](int32_t token, SetId after) {
      if (after != last) {
        last = after;
        last_fits = tokens_to_end(after, left) <= left;
      }
      if (last_fits) set_bit(bits, token), any = true;
    });
  return any;
}

}  // namespace vl8

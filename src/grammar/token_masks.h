// Which tokens may follow at a set of a LazyAutomaton: walks of the vocabulary's tries, kept per set.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "grammar/lazy_automaton.h"
#include "grammar/vocabulary.h"

namespace vl8 {

class TokenMasks {
 public:
  TokenMasks(std::shared_ptr<const Network> network, std::shared_ptr<const TokenVocabulary> vocabulary, const GrammarLimits& limits);

  LazyAutomaton& automaton() { return automaton_; }
  size_t bytes() const { return automaton_.bytes() + mask_bytes_; }
  bool full() const { return bytes() > limits_.cache_bytes; }

  // All tokens after which a complete text is still possible. bits: at least vocabulary.words(); the rest becomes 0.
  void fill(SetId set, std::span<uint32_t> bits);
  // Those after which one is possible within tokens - 1 more tokens, of which the last one ends the answer; false, bits
  // undefined, if there is none. tokens >= 1.
  bool fill_within(SetId set, int64_t tokens, std::span<uint32_t> bits);
  // Whether fill_within would allow the same as fill.
  bool is_far(SetId set, int64_t tokens);

 private:
  struct Mask {
    std::vector<uint32_t> words;   // empty: `tokens` says it
    std::vector<int32_t> tokens;
    int64_t longest_rest = 0;      // after any of the tokens, at least: bytes to a complete text
    std::vector<SetId> after;      // where the tokens lead; empty: to too many sets
    int64_t longest_tokens = -1;   // as longest_rest, in tokens; -1: not asked yet
  };
  Mask& of(SetId set);
  Mask make(SetId set);
  template <typename F>
  void walk(const std::vector<TokenVocabulary::Node>& trie, SetId start, F&& on_token);
  int64_t tokens_to_end(SetId set, int64_t enough);

  std::shared_ptr<const TokenVocabulary> vocabulary_;
  GrammarLimits limits_;
  LazyAutomaton automaton_;
  std::unordered_map<SetId, Mask> masks_;
  std::unordered_map<SetId, int64_t> greedy_;
  struct Step {
    SetId set;
    const SetId* next;
  };
  std::vector<Step> path_;
  size_t mask_bytes_ = 0;
};

}  // namespace vl8

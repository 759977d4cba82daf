// A grammar as one flat transition network over bytes: the form that is executed. Every rule is a nondeterministic automaton
// whose edges consume a byte of UTF-8 or call a rule (recursive transition network, Woods 1970). Long bounded repetitions are
// rules that count instead of copies of their body. States from which no text can be completed are marked, so that whatever is
// walked without them has no dead end.
//
// A control token of the vocabulary is spelled as the byte 0xFF, which UTF-8 never uses, and its id in three bytes.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "grammar/expr.h"

namespace vl8 {

struct ByteSet {
  std::array<uint64_t, 4> words{};
  bool contains(uint8_t b) const { return words[b >> 6] >> (b & 63) & 1; }
  void add(uint8_t b) { words[b >> 6] |= uint64_t(1) << (b & 63); }
  void add(uint8_t first, uint8_t last) {
    for (int b = first; b <= last; ++b) add(uint8_t(b));
  }
  bool operator==(const ByteSet&) const = default;
  auto operator<=>(const ByteSet&) const = default;
};

// Characters of an unbroken run inside a JSON string: all but controls, the quote and the backslash.
const CodePoints& plain_characters();

constexpr uint8_t kTokenMark = 0xFF;
std::string spell_token(int32_t token);  // 4 bytes

class Network {
 public:
  enum class Kind : uint8_t { split, bytes, call, final };
  struct State {
    Kind kind = Kind::split;
    bool plain_loop = false;  // bytes: the first byte of a loop over (at least) all plain characters
    bool no_skip = false;     // call: a rule that may be empty is not skipped here (its emptiness is accounted for elsewhere)
    uint32_t rule = 0;        // it belongs to
    uint32_t arg = 0;         // split: first of its targets; bytes: index of the set; call: the rule called
    uint32_t to = 0;          // split: number of targets; bytes, call: the next state
    int64_t distance = 0;     // fewest bytes from here to the end of its rule (of one round of it); kDead: none
  };
  struct RuleInfo {
    std::string name;
    uint32_t start = 0;
    int64_t min = 1, max = 1;  // rounds; max < 0: no limit
    bool counted = false, nullable = false;
    bool closes_run = false;  // counted: no plain character can follow it directly, wherever it is called
    int64_t shortest = 0;  // bytes, of all rounds together
  };
  static constexpr int64_t kDead = INT64_MAX / 4;

  // Throws Error(unsupported) beyond a limit and Error(input) where no text at all satisfies the grammar.
  static Network build(const Grammar& grammar, const GrammarLimits& limits);

  const std::vector<State>& states() const { return states_; }
  const std::vector<uint32_t>& targets() const { return targets_; }
  const std::vector<ByteSet>& sets() const { return sets_; }
  const std::vector<RuleInfo>& rules() const { return rules_; }
  uint32_t root() const { return root_; }  // a rule that calls the start rule and nothing else

 private:
  friend class NetworkBuilder;
  std::vector<State> states_;
  std::vector<uint32_t> targets_;
  std::vector<ByteSet> sets_;
  std::vector<RuleInfo> rules_;
  uint32_t root_ = 0;
};

}  // namespace vl8

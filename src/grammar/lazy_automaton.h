// Earley's recogniser (1970) over a Network, with its item sets shared: sets of equal content are one object, so that a regular
// grammar becomes its deterministic automaton, built where text leads, and a recursive one its automaton for the nesting seen.
//
// An item is (state, rounds of the counting rule it is in, set where its rule began). A set names the sets where its rules began
// by their identity; a rule that began in the set itself by kSelf. States without a way to an end never enter a set: every set
// can be completed.
//
// Not for two threads at once. Memory is bounded by `limits.cache_bytes`, at which the owner makes a new automaton and carries
// its set over (`import_from`); a single step sequence beyond twice as much is refused.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "grammar/network.h"

namespace vl8 {

using SetId = uint32_t;

class LazyAutomaton {
 public:
  static constexpr SetId kNone = 0;           // no text: what a forbidden byte leads to
  static constexpr SetId kSelf = 0xFFFFFFFF;
  static constexpr SetId kRoot = 0xFFFFFFFE;  // origin of the root rule
  struct Item {
    uint32_t state, rounds;
    SetId origin;
    auto operator<=>(const Item&) const = default;
  };

  // reach: no mask looks further ahead than so many bytes (the longest token).
  LazyAutomaton(std::shared_ptr<const Network> network, const GrammarLimits& limits, int64_t reach);

  SetId start() const { return start_; }
  SetId step(SetId from, uint8_t byte) {
    Set& s = *sets_[from];
    if (s.next) {
      const SetId known = (*s.next)[byte];
      if (known != kUnknown) return known;
    }
    return step_slowly(from, byte);
  }

  // The known next sets of s by byte, kUnknown where step() has not been asked yet; null before its first step. Valid until s is gone.
  static constexpr SetId kUnknown = 0xFFFFFFFF;
  const SetId* known_steps(SetId s) const { return sets_[s]->next ? sets_[s]->next->data() : nullptr; }

  bool accepting(SetId s) const { return sets_[s]->accepting; }
  bool exhausted(SetId s) const { return sets_[s]->scans == 0; }  // no byte may follow
  int64_t shortest_rest(SetId s);                 // bytes to the nearest complete text
  std::string shortest_text(SetId s);             // the first such text in byte order
  // Characters of an unbroken plain run (plain_characters) that may follow here, whatever else may: -1 none, INT64_MAX any number.
  int64_t plain_run(SetId s) const { return sets_[s]->plain_run; }
  // Whether nothing but the loop behind plain_run can take a plain character.
  bool plain_run_only(SetId s) const { return sets_[s]->plain_only; }

  // A set that allows the same texts of up to `reach` bytes: rounds far from their limits are made equal.
  SetId representative(SetId s);

  SetId import_from(const LazyAutomaton& other, SetId s);
  size_t bytes() const { return bytes_; }
  bool full() const { return bytes_ > limits_.cache_bytes; }
  std::string describe(SetId s) const;  // for debugging and tests

 private:
  struct Set {
    std::vector<Item> items;      // sorted; bytes and calls only
    std::vector<uint32_t> calls;  // indices of the items that wait for a rule, sorted by that rule
    std::unique_ptr<std::array<SetId, 256>> next;
    int64_t shortest = -1;        // memo of shortest_rest
    std::vector<std::pair<uint32_t, int64_t>> returns;  // with it: rule -> bytes after its end
    int64_t plain_run = -1;
    int16_t shortest_byte = -1;   // memo of shortest_text
    SetId representative = kUnknown;
    uint32_t scans = 0;           // items that take a byte
    bool accepting = false, plain_only = false;
  };

  SetId step_slowly(SetId from, uint8_t byte);
  void add(const Item& item);
  void close();
  void complete(uint32_t rule, SetId origin);
  SetId intern(std::vector<Item> items, bool accepting);
  void describe_runs(Set& s) const;
  template <typename F>
  void each_waiting(const Set& s, uint32_t rule, F&& f) const;
  std::vector<SetId> unmeasured_below(SetId s) const;
  void measure(SetId id);
  int64_t after_round(const Item& item) const;
  int64_t return_cost(SetId origin, uint32_t rule) const;
  uint32_t clamp(const Item& item) const;

  std::shared_ptr<const Network> network_;
  GrammarLimits limits_;
  int64_t reach_;
  std::vector<std::unique_ptr<Set>> sets_;
  std::unordered_multimap<uint64_t, SetId> by_hash_;
  size_t bytes_ = 0;
  SetId start_ = kNone;

  // Of the set being built.
  std::vector<Item> found_;
  std::unordered_map<uint64_t, std::vector<uint32_t>> found_index_;  // indices by hash, once there are many
  bool found_accepting_ = false;
};

}  // namespace vl8

#include "grammar/compiled_grammar.h"

#include <algorithm>

#include "core/error.h"
#include "grammar/token_masks.h"

namespace vl8 {

// One answer's place in a grammar.
class GrammarConstraint : public TokenConstraint {
 public:
  GrammarConstraint(std::shared_ptr<CompiledGrammar> grammar, std::vector<TokenId> end_tokens)
      : grammar_(std::move(grammar)), end_tokens_(std::move(end_tokens)) {
    std::lock_guard lock(grammar_->mutex_);
    masks_ = grammar_->masks();
    move_to(masks_->automaton().start());
  }

  bool fill_mask(std::span<uint32_t> bits) override {
    check(bits.size() >= grammar_->vocabulary_->words(), "fill_mask: {} words for {} tokens", bits.size(), grammar_->vocabulary_->size());
    if (ended_) {
      std::fill(bits.begin(), bits.end(), 0u);
    } else {
      std::lock_guard lock(grammar_->mutex_);
      follow_current();
      // With too few tokens for any end the answer goes on unsteered and is cut off.
      const bool steered = budget_ >= 0 && !masks_->is_far(set_, budget_) &&
                           (masks_->fill_within(set_, std::max<int64_t>(budget_, 1), bits) || can_end_);
      if (!steered) masks_->fill(set_, bits);
    }
    if (can_end_)
      for (TokenId t : end_tokens_)
        if (t >= 0 && size_t(t) / 32 < bits.size()) bits[size_t(t) / 32] |= 1u << (t % 32);
    return true;
  }

  void accept(int32_t token) override {
    check(!ended_, "accept: token {} after the end of the answer", token);
    if (budget_ > 0) --budget_;
    if (std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end()) {
      check(can_end_, "accept: end token {} where the text is not complete", token);
      ended_ = true;
      return;
    }
    const std::string_view bytes = grammar_->vocabulary_->spelling(token);
    std::lock_guard lock(grammar_->mutex_);
    follow_current();
    SetId set = bytes.empty() ? LazyAutomaton::kNone : set_;
    for (char b : bytes) set = masks_->automaton().step(set, uint8_t(b));
    check(set != LazyAutomaton::kNone, "accept: token {} is not allowed here", token);
    move_to(set);
  }

  bool can_end() const override { return can_end_; }
  bool must_end() const override { return ended_ || must_end_; }
  void set_budget(int64_t tokens) override { budget_ = std::max<int64_t>(0, tokens); }
  std::unique_ptr<TokenConstraint> clone() const override { return std::make_unique<GrammarConstraint>(*this); }

 private:
  void move_to(SetId set) {
    set_ = set;
    can_end_ = masks_->automaton().accepting(set);
    must_end_ = can_end_ && masks_->automaton().exhausted(set);
  }
  void follow_current() {
    auto current = grammar_->masks();
    if (current == masks_) return;
    set_ = current->automaton().import_from(masks_->automaton(), set_);
    masks_ = std::move(current);
  }

  std::shared_ptr<CompiledGrammar> grammar_;
  std::shared_ptr<TokenMasks> masks_;
  std::vector<TokenId> end_tokens_;
  SetId set_ = LazyAutomaton::kNone;
  int64_t budget_ = -1;
  bool can_end_ = false, must_end_ = false, ended_ = false;
};

std::shared_ptr<CompiledGrammar> CompiledGrammar::make(const Grammar& grammar, std::shared_ptr<const TokenVocabulary> vocabulary,
                                                       const GrammarLimits& limits) {
  std::shared_ptr<CompiledGrammar> out(new CompiledGrammar);
  out->network_ = std::make_shared<const Network>(Network::build(grammar, limits));
  out->vocabulary_ = std::move(vocabulary);
  out->limits_ = limits;
  out->masks();
  return out;
}

std::shared_ptr<TokenMasks> CompiledGrammar::masks() {
  if (!masks_ || masks_->full()) masks_ = std::make_shared<TokenMasks>(network_, vocabulary_, limits_);
  return masks_;
}

std::unique_ptr<TokenConstraint> CompiledGrammar::start(std::vector<TokenId> end_tokens) {
  return std::make_unique<GrammarConstraint>(shared_from_this(), std::move(end_tokens));
}

bool CompiledGrammar::accepts(std::string_view text) {
  std::lock_guard lock(mutex_);
  auto m = masks();
  SetId s = m->automaton().start();
  for (char b : text) s = m->automaton().step(s, uint8_t(b));
  return m->automaton().accepting(s);
}

size_t CompiledGrammar::cached_bytes() {
  std::lock_guard lock(mutex_);
  return masks_->bytes();
}

int64_t CompiledGrammar::shortest_bytes() {
  std::lock_guard lock(mutex_);
  auto m = masks();
  return m->automaton().shortest_rest(m->automaton().start());
}

}  // namespace vl8

// What may be said next: the sampler's view of structured output. A constraint belongs to one answer; the engine calls
//
//   constraint.set_budget(most tokens of the answer, the end token included);       once, before the first token
//   if (constraint.fill_mask(bits)) forbid every token whose bit is 0;              before each token
//   constraint.accept(token);                                                       after each token
//
// The mask contains the end tokens exactly where can_end() holds, so a sampler needs no other rule. A mask is never empty.
// One thread at a time may use a constraint; clones are independent (n > 1, preemption, speculation).
#pragma once
#include <cstdint>
#include <memory>
#include <span>

namespace vl8 {

class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // bits: one per logit, token i is bit i % 32 of word i / 32; at least (logits + 31) / 32 words, which are overwritten. Tokens
  // that the tokenizer does not have (padding rows of the embedding) are not allowed. false: everything is allowed, bits unchanged.
  virtual bool fill_mask(std::span<uint32_t> bits) = 0;

  // token must be one that the last mask allowed; another one is Error(internal). After an end token nothing may follow.
  virtual void accept(int32_t token) = 0;

  virtual bool can_end() const = 0;   // what was said is complete: an end token is allowed
  virtual bool must_end() const = 0;  // nothing but an end token is allowed: generation may stop here

  // At most this many more tokens follow, the end token included. Constraints that can do so steer towards an end in time;
  // without this call, or with too few tokens for the shortest complete answer, the answer may be cut off.
  virtual void set_budget(int64_t tokens) { (void)tokens; }

  virtual std::unique_ptr<TokenConstraint> clone() const = 0;
};

}  // namespace vl8

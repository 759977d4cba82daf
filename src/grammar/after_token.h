// Structured output of reasoning models: free text up to a token (`</think>`), then the inner constraint.
#pragma once
#include <memory>
#include <vector>

#include "grammar/token_constraint.h"

namespace vl8 {

class AfterToken : public TokenConstraint {
 public:
  // end_tokens are not allowed before `border` was said: an answer without its structured part would be malformed.
  // limit: at most this many tokens of reasoning, then `border` is the only token allowed; < 0: no limit. With a budget
  // set, half of it is kept for the answer in any case.
  AfterToken(int32_t border, std::vector<int32_t> end_tokens, int32_t vocabulary, int64_t limit,
             std::unique_ptr<TokenConstraint> inner);

  bool fill_mask(std::span<uint32_t> bits) override;
  void accept(int32_t token) override;
  bool can_end() const override { return inside_ && inner_->can_end(); }
  bool must_end() const override { return inside_ && inner_->must_end(); }
  void set_budget(int64_t tokens) override;
  std::unique_ptr<TokenConstraint> clone() const override;

 private:
  int32_t border_, vocabulary_;
  std::vector<int32_t> end_tokens_;
  int64_t limit_, budget_ = -1, said_ = 0;
  bool inside_ = false;
  std::unique_ptr<TokenConstraint> inner_;
};

}  // namespace vl8

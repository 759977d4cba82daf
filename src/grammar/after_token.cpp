#include "grammar/after_token.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace vl8 {

AfterToken::AfterToken(int32_t border, std::vector<int32_t> end_tokens, int32_t vocabulary, int64_t limit,
                       std::unique_ptr<TokenConstraint> inner)
    : border_(border),
      vocabulary_(vocabulary),
      end_tokens_(std::move(end_tokens)),
      limit_(limit),
      inner_(std::move(inner)) {
  check(border_ >= 0 && border_ < vocabulary_, "AfterToken: border {} of {} tokens", border_, vocabulary_);
}

bool AfterToken::fill_mask(std::span<uint32_t> bits) {
  if (inside_) return inner_->fill_mask(bits);
  check(bits.size() * 32 >= size_t(vocabulary_), "AfterToken: {} mask words for {} tokens", bits.size(), vocabulary_);
  auto word = [&](int32_t t) -> uint32_t& { return bits[size_t(t) / 32]; };
  auto bit = [](int32_t t) { return uint32_t(1) << (t % 32); };
  const bool close_now = limit_ >= 0 && said_ >= limit_;
  std::fill(bits.begin(), bits.end(), 0u);
  if (close_now) {
    word(border_) |= bit(border_);
    return true;
  }
  std::fill_n(bits.begin(), vocabulary_ / 32, ~0u);
  for (int32_t t = vocabulary_ / 32 * 32; t < vocabulary_; ++t) word(t) |= bit(t);
  for (int32_t t : end_tokens_)
    if (t >= 0 && t < vocabulary_) word(t) &= ~bit(t);
  return true;
}

void AfterToken::accept(int32_t token) {
  if (inside_) return inner_->accept(token);
  ++said_;
  if (token != border_) return;
  inside_ = true;
  if (budget_ >= 0) inner_->set_budget(std::max<int64_t>(0, budget_ - said_));
}

void AfterToken::set_budget(int64_t tokens) {
  if (inside_) return inner_->set_budget(tokens);
  budget_ = said_ + tokens;
  const int64_t share = said_ + tokens / 2;
  limit_ = limit_ < 0 ? share : std::min(limit_, share);
}

std::unique_ptr<TokenConstraint> AfterToken::clone() const {
  auto copy = std::make_unique<AfterToken>(border_, end_tokens_, vocabulary_, limit_, inner_->clone());
  copy->budget_ = budget_;
  copy->said_ = said_;
  copy->inside_ = inside_;
  return copy;
}

}  // namespace vl8

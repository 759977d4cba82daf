#include "engine/generation.h"

#include <algorithm>

namespace vl8 {
namespace {

// Reasoning may use what its budget says, but a quarter of the tokens is kept for the answer; structured answers, which
// are worth nothing when cut off, keep half even where no budget was asked for.
int64_t thinking_limit(const GenerationRequest& r, int64_t closing) {
  if (r.thinking_budget < 0) return r.constraint ? std::max<int64_t>(0, r.max_tokens / 2 - closing) : -1;
  return std::max<int64_t>(0, std::min(r.thinking_budget, r.max_tokens - std::max<int64_t>(r.max_tokens / 4, 1) - closing));
}

}  // namespace

GenerationRules GenerationRules::of(const Tokenizer& tokenizer, std::vector<int32_t> end_tokens) {
  GenerationRules rules{&tokenizer, std::move(end_tokens), {}};
  if (auto id = tokenizer.find_added("</think>")) rules.close_thinking = {*id};
  else rules.close_thinking = tokenizer.encode("</think>", Special::literal);
  return rules;
}

Generation::Generation(GenerationRequest& r, const GenerationRules& rules, std::span<const int32_t> prompt)
    : rules_(rules), sampler_(r.sampling, prompt), text_(*rules.tokenizer, r.starts_thinking, r.stops), max_tokens_(r.max_tokens),
      thinking_limit_(thinking_limit(r, int64_t(rules.close_thinking.size()))), ignore_end_(r.ignore_end) {
  check(max_tokens_ > 0, "an answer of at most {} tokens", max_tokens_);
  constraint_ = std::move(r.constraint);
}

bool Generation::is_end(int32_t token) const {
  return std::find(rules_.end_tokens.begin(), rules_.end_tokens.end(), token) != rules_.end_tokens.end();
}

void Generation::forbid_ends() {
  for (int32_t t : rules_.end_tokens)
    if (size_t(t) / 32 < bits_.size()) bits_[size_t(t) / 32] &= ~(1u << (t % 32));
}

// Which tokens may come next; empty: any.
std::span<const uint32_t> Generation::mask(size_t vocab) {
  bits_.resize((vocab + 31) / 32);
  if (text_.thinking()) {
    if (closing_ > 0 || (thinking_limit_ >= 0 && reasoned_ >= thinking_limit_)) {
      const int32_t token = rules_.close_thinking[std::min(closing_++, rules_.close_thinking.size() - 1)];
      std::fill(bits_.begin(), bits_.end(), 0u);
      bits_[size_t(token) / 32] |= 1u << (token % 32);
      return bits_;
    }
    if (!constraint_) return {};
    std::fill(bits_.begin(), bits_.end(), ~0u);  // an end here would leave out the structured part
    forbid_ends();
    return bits_;
  }
  if (!constraint_) return {};
  if (!constrained_) {
    constrained_ = true;
    constraint_->set_budget(max_tokens_ - produced_);
  }
  if (constraint_->fill_mask(bits_)) return bits_;
  return {};
}

GenerationEvent Generation::next(std::span<const float> logits) {
  GenerationEvent e;
  const std::span<const uint32_t> allowed = mask(logits.size());
  e.tokens.push_back(sampler_.sample(logits, allowed));
  const int32_t token = e.tokens.back().token;
  ++produced_;
  bool stopped = is_end(token) && (!ignore_end_ || constrained_);
  if (!stopped) {
    reasoned_ += text_.thinking();
    e.delta = text_.push(token);
    if (constrained_) {
      constraint_->accept(token);
      stopped = constraint_->must_end();
    }
    stopped = stopped || text_.stopped();
  }
  if (!stopped && produced_ < max_tokens_) return e;
  GenerationEvent last = stop(stopped ? Finish::stop : Finish::length);
  e.delta.text += last.delta.text, e.delta.reasoning += last.delta.reasoning;
  e.done = true, e.finish = last.finish;
  return e;
}

GenerationEvent Generation::stop(Finish why) {
  GenerationEvent e;
  e.delta = text_.finish();
  e.done = true, e.finish = why;
  return e;
}

}  // namespace vl8

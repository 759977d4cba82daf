// How many tokens of an answer its reasoning may take.
#pragma once
#include <algorithm>

#include "server/api_request.h"

namespace vl8 {

// answer_tokens: reasoning and answer together. A quarter, at most 1024 tokens, is kept for the answer whatever the request
// asks for: a reasoning model that is cut off in its thoughts has said nothing. -1: no reasoning is to come.
inline int64_t thinking_budget(const ReasoningOptions& r, bool starts_thinking, int64_t answer_tokens) {
  if (r.enabled && !*r.enabled) return 0;
  if (!starts_thinking && !r.enabled) return -1;
  const int64_t most = std::max<int64_t>(0, answer_tokens - std::clamp<int64_t>(answer_tokens / 4, 1, 1024));
  return r.budget >= 0 ? std::min(r.budget, most) : most;
}

}  // namespace vl8

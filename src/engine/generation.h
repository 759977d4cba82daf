// One answer on its way: from logits to tokens to text, with its limits. Knows nothing of batches, pages or threads.
#pragma once
#include "engine/request.h"

namespace vl8 {

// What is the same for all answers of a model.
struct GenerationRules {
  const Tokenizer* tokenizer = nullptr;
  std::vector<int32_t> end_tokens;
  std::vector<int32_t> close_thinking;  // the token `</think>`, or its text where the vocabulary has no such token
  static GenerationRules of(const Tokenizer& tokenizer, std::vector<int32_t> end_tokens);
};

class Generation {
 public:
  // Takes the sampling, limits and constraint out of the request; max_tokens must be set. `prompt` for the penalties.
  Generation(GenerationRequest& request, const GenerationRules& rules, std::span<const int32_t> prompt);

  // Samples one token. Where the answer is complete the event is `done` with its finish and the text that was held back.
  // The token (of event.tokens) has to be computed next where not done.
  GenerationEvent next(std::span<const float> logits);
  GenerationEvent stop(Finish why);  // ends it early

  int64_t answer_tokens() const { return produced_; }
  int64_t reasoning_tokens() const { return reasoned_; }

 private:
  std::span<const uint32_t> mask(size_t vocab);
  void forbid_ends();
  bool is_end(int32_t token) const;

  const GenerationRules& rules_;
  Sampler sampler_;
  AnswerText text_;
  std::unique_ptr<TokenConstraint> constraint_;
  int64_t max_tokens_, thinking_limit_;  // -1: none
  bool ignore_end_, constrained_ = false;
  int64_t produced_ = 0, reasoned_ = 0;
  size_t closing_ = 0;  // tokens of close_thinking already forced
  std::vector<uint32_t> bits_;
};

}  // namespace vl8

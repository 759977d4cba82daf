// From logits to a token. Order (that of Hugging Face generate, with the penalties of the OpenAI API in front):
// mask, logit bias, repetition penalty, presence and frequency penalties, temperature, top-k, top-p, min-p, draw.
// The draw depends only on (seed, index of the token), never on the batch, so that a request repeats exactly.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace vl8 {

struct SamplingParams {
  float temperature = 0;         // 0: greedy; at most 2 in the API, any value >= 0 here
  int32_t top_k = 0;             // 0: all
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1): at least this share of the most likely token's probability
  float repetition_penalty = 1;  // > 0; over prompt and answer
  float presence_penalty = 0;    // over the answer
  float frequency_penalty = 0;   // over the answer
  uint64_t seed = 0;
  int32_t logprobs = -1;         // -1: none; n: the chosen token's and the n most likely ones'
  std::vector<std::pair<int32_t, float>> logit_bias;

  void validate() const;  // throws Error(usage) naming the parameter and its range
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

struct SampledToken {
  int32_t token = 0;
  float logprob = 0;                // of the unchanged distribution; 0 unless asked for
  std::vector<TokenLogprob> top;    // most likely first
};

// The state of one answer: what has been said, for the penalties.
class Sampler {
 public:
  Sampler(SamplingParams params, std::span<const int32_t> prompt);
  // Counts the token as said. allowed: bit i % 32 of word i / 32 says whether token i may be taken; empty: all may.
  SampledToken sample(std::span<const float> logits, std::span<const uint32_t> allowed = {});
  const SamplingParams& params() const { return params_; }

 private:
  void penalise(std::vector<float>& logits) const;
  void collect(std::span<const float> logits) const;
  int32_t draw(std::span<const float> logits) const;
  SamplingParams params_;
  std::unordered_map<int32_t, int32_t> said_;  // token -> count in the answer; 0: only in the prompt
  uint64_t index_ = 0;
  mutable std::vector<std::pair<float, int32_t>> candidates_;
  std::vector<float> scratch_;
};

}  // namespace vl8

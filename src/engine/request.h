// One generation as the engine takes it, and what it sends back. Made on the caller's thread (Engine::prepare does the
// template, tokens and pixels), then handed to Service::submit; from there on the engine thread owns it.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "engine/answer.h"
#include "engine/prompt.h"
#include "engine/sampler.h"
#include "grammar/token_constraint.h"

namespace vl8 {

using SteadyClock = std::chrono::steady_clock;

struct GenerationRequest {
  Prompt prompt;  // pixels included
  SamplingParams sampling;
  std::vector<std::string> stops;    // cut the answer (never the reasoning) before the first of them
  int64_t max_tokens = 0;            // reasoning and answer together; 0: what the context leaves, at most 4096
  bool starts_thinking = false;      // the prompt ends with an open `<think>`
  int64_t thinking_budget = -1;      // tokens of reasoning, then `</think>` is forced; -1: no limit of its own
  std::unique_ptr<TokenConstraint> constraint;  // of the answer; asked only after the reasoning, which then has half of
                                                // max_tokens at most; null: free text
  int32_t priority = 0;              // lower is served first, as in vLLM; waiting makes a request more urgent (ageing)
  std::optional<SteadyClock::time_point> deadline;  // not finished by then: ends with Finish::deadline and what it has
  bool ignore_end = false;           // end tokens do not end the answer
  bool pooled = false;               // no generation: the event carries the embedding of the prompt
  std::string client;                // who asks; of equal urgency, clients take turns. Empty: all such are one client
  std::string cache_salt;            // prompts with different salts share no cache entry
};
// n answers to one prompt: submit n requests with seeds seed, seed + 1, ...; they share the prompt's keys and values.

enum class Finish : uint8_t { stop, length, cancelled, deadline, error };
std::string_view finish_name(Finish finish);

struct GenerationUsage {
  int64_t prompt_tokens = 0, visual_tokens = 0;     // visual: placeholders, a part of the prompt
  int64_t cached_tokens = 0;                        // of the prompt, whose keys and values were taken from the cache
  int64_t answer_tokens = 0, reasoning_tokens = 0;  // sampled in all (the end token included); of these in the reasoning
  int64_t visuals_encoded = 0, visuals_cached = 0;  // pictures and clips: through the tower, or from the feature cache
  int64_t preemptions = 0;                          // times its pages were taken away and computed again
  double queue_ms = 0;        // from submit to its first step
  double vision_ms = 0;       // in the vision tower, for this request's pictures
  double prefill_ms = 0;      // from its first step to the first token, without vision_ms
  double first_token_ms = 0;  // from submit to the first token
  double decode_ms = 0;       // from the first token to the end
};

struct RequestError {
  ErrorKind kind = ErrorKind::internal;
  std::string message;
};

// What one step added. A request gets any number of these, the last one with `done`, and none after it.
struct GenerationEvent {
  AnswerDelta delta;                 // may be empty: text that could become a stop string is held back
  std::vector<SampledToken> tokens;  // sampled by this step
  bool done = false;
  Finish finish = Finish::stop;      // where done
  GenerationUsage usage;             // so far
  std::vector<float> embedding;      // where done and pooled: [C], Euclidean length 1
  std::optional<RequestError> error; // where finish is Finish::error
};

// The queue has no room: HTTP 429. retry_after_s: a guess from the present rate.
class QueueFull : public Error {
 public:
  QueueFull(const std::string& message, double retry_after_s)
      : Error(ErrorKind::resource, message), retry_after_s_(retry_after_s) {}
  double retry_after_s() const { return retry_after_s_; }

 private:
  double retry_after_s_;
};

}  // namespace vl8

// Settings and counters of the batching engine.
#pragma once
#include <cstdint>

#include "engine/histogram.h"

namespace vl8 {

struct ServiceOptions {
  int64_t max_running = 32;              // sequences that share steps
  int64_t kv_bytes = 0;                  // of keys and values; 0: what max_running full contexts need, at most 40 % of free memory
  int64_t step_tokens = 512;             // most tokens of one step: every running answer's one, the rest for prompts
  double step_target_ms = 250;           // while answers run, prompts get so many tokens a step that it takes about this; 0: no such limit
  int64_t queue_requests = 256;          // waiting ones; more are refused with QueueFull
  int64_t queue_bytes = int64_t(2) << 30;  // pixels held by waiting and running requests; more are refused with QueueFull
  int64_t vision_cache_bytes = int64_t(256) << 20;  // features of pictures seen before; 0: none
  bool prefix_cache = true;
  bool batch_invariant = false;          // every answer equals that of `vl8 run` with the same seed, bit for bit (dense models on the
                                         // CPU; others where Ops::batch_invariant says so)
  double ageing_s = 10;                  // waiting this long is worth one step of priority; 0: no ageing
  void validate() const;                 // throws Error(usage) naming the option and its range
};

struct ServiceStats {
  int64_t waiting = 0, running = 0;
  int64_t page_tokens = 0;
  int64_t kv_pages = 0, kv_pages_used = 0, kv_pages_cached = 0;  // used: by running requests; cached: kept for later ones
  int64_t submitted = 0, finished = 0, cancelled = 0, failed = 0, refused = 0, expired = 0;  // requests
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0, visual_tokens = 0, cached_tokens = 0, answer_tokens = 0;  // of requests that have begun
  int64_t vision_hits = 0, vision_misses = 0, vision_cache_bytes = 0;
  int64_t queued_bytes = 0;  // pixels of waiting and running requests
  int64_t steps = 0;
  // Seconds and counts; worst() is the largest seen. inter_token: between two tokens of one answer.
  Histogram queue_s, first_token_s, inter_token_s, request_s, step_s, step_tokens, step_sequences;
  ServiceStats();
};

}  // namespace vl8

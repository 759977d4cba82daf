// Many generations at once on one engine. One thread owns every sequence, page and cache; the rest of the program hands
// requests over and gets events back. CONTRACT.md says who owns what.
//
//   auto service = Service::start(Engine::load(folder, {}), {});
//   PreparedChat chat = service->engine().prepare(request);             // any worker thread
//   uint64_t id = service->submit(std::move(generation), [](GenerationEvent e) { queue.push(std::move(e)); });
//   service->cancel(id);                                                // done within one step
#pragma once
#include <functional>
#include <memory>

#include "engine/engine.h"
#include "engine/histogram.h"
#include "engine/request.h"

namespace vl8 {

struct ServiceOptions {
  int64_t max_running = 32;              // sequences that share steps
  int64_t kv_bytes = 0;                  // of keys and values; 0: what max_running full contexts need, at most 40 % of free memory
  int64_t step_tokens = 512;             // most tokens of one step: every running answer's one, the rest for prompts
  double step_target_ms = 250;           // while answers run, prompts get so many tokens a step that it takes about this; 0: no such limit
  int64_t queue_requests = 256;          // waiting ones; more are refused with QueueFull
  int64_t queue_bytes = int64_t(2) << 30;  // pixels held by waiting and running requests
  int64_t vision_cache_bytes = int64_t(256) << 20;  // features of pictures seen before; 0: none
  bool prefix_cache = true;
  bool batch_invariant = false;          // every answer equals that of `vl8 run` with the same seed, bit for bit
  double ageing_s = 10;                  // waiting this long is worth one step of priority
};

struct ServiceStats {
  int64_t waiting = 0, running = 0;
  int64_t kv_pages = 0, kv_pages_used = 0, kv_pages_cached = 0;  // used: by running requests; cached: kept for later ones
  int64_t page_tokens = 0;
  int64_t submitted = 0, finished = 0, cancelled = 0, failed = 0, refused = 0, expired = 0;
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;  // sums over requests
  int64_t prefix_queries_tokens = 0, prefix_hits_tokens = 0;
  int64_t vision_hits = 0, vision_misses = 0, vision_cache_bytes = 0;
  int64_t visual_tokens = 0;
  int64_t queued_bytes = 0;
  int64_t steps = 0;
  Histogram queue_s, first_token_s, inter_token_s, request_s, step_s, step_tokens, step_sequences;  // worst() is the largest seen
  ServiceStats();
};

class Service {
 public:
  // Starts the engine thread. Throws Error(resource) where the key/value cache cannot be had.
  static std::unique_ptr<Service> start(std::unique_ptr<Engine> engine, const ServiceOptions& options);
  ~Service();  // cancels what is left and joins the thread

  // The const side of Engine is safe from any thread: config(), tokenizer(), prepare(), tokenize()...
  const Engine& engine() const;
  const ServiceOptions& options() const;
  int64_t kv_tokens() const;  // most tokens that the cache holds: of all running requests together

  // Called on the engine thread, in order, the last time with `done`; must only hand the event over (it must not block,
  // throw, or call submit).
  using OnEvent = std::function<void(GenerationEvent)>;

  // From any thread. Throws QueueFull, Error(usage) where the request can never fit (with the arithmetic) or a parameter
  // is out of range, Error(cancelled) while draining. The id is never 0 and never used again.
  uint64_t submit(GenerationRequest request, OnEvent on_event);
  // From any thread; the request ends with Finish::cancelled within one step. An unknown or finished id is no error.
  void cancel(uint64_t id);

  ServiceStats stats() const;
  void set_queue_limit(int64_t requests);  // from any thread, from now on

  // Refuses new requests, lets the others finish, at most for `timeout`; then cancels them. True where all finished.
  bool drain(std::chrono::milliseconds timeout);

 private:
  struct State;
  explicit Service(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vl8

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
#include "engine/request.h"
#include "engine/service_options.h"

namespace vl8 {

class Service {
 public:
  // Starts the engine thread. Throws Error(resource) where the key/value cache cannot be had.
  static std::unique_ptr<Service> start(std::unique_ptr<Engine> engine, const ServiceOptions& options);
  ~Service();  // cancels what is left and joins the thread

  // The const side of Engine is safe from any thread: config(), tokenizer(), prepare(), tokenize()...
  const Engine& engine() const;
  ServiceOptions options() const;
  int64_t kv_tokens() const;  // most tokens that the cache holds: of all running requests together

  // Called on the engine thread, in order, the last time with `done`; must only hand the event over (it must not block,
  // throw, or call submit).
  using OnEvent = std::function<void(GenerationEvent)>;

  // From any thread. Throws QueueFull, Error(usage) where the request can never fit (with the arithmetic) or a parameter
  // is out of range, Error(cancelled) while draining. The id is never 0 and never used again.
  uint64_t submit(GenerationRequest request, OnEvent on_event);
  // From any thread; the request ends with Finish::cancelled within one step. An unknown or finished id is no error.
  void cancel(uint64_t id);

  // Runs f on the engine thread between two steps and waits for it; what it throws is thrown here. For work that needs the
  // model's operations outside of a request (features of gated frames). Nothing else is computed meanwhile.
  void run_on_engine(const std::function<void(LoadedModel&)>& f);

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

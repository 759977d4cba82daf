// What all requests share: the engine, the configuration in force, the pools of workers, counters.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>

#include "engine/service.h"
#include "grammar/structured_output.h"
#include "server/api_keys.h"
#include "server/decoder_pool.h"
#include "server/media_source.h"
#include "server/metrics.h"
#include "server/server_config.h"
#include "server/sessions.h"
#include "server/worker_pool.h"

namespace vl8 {

class ServerState {
 public:
  ServerState(std::unique_ptr<Service> service, const ServerConfig& config, const std::string& folder_name);

  Service& service() { return *service_; }
  const Engine& engine() const { return service_->engine(); }
  const ModelFacts& model() const { return model_; }
  std::shared_ptr<const ServerConfig> config() const;  // one request uses one snapshot
  FetchPolicy fetch_policy() const;

  // Takes over the settings that may change while running, the key file included. Throws, and changes nothing, where the new
  // configuration is not usable.
  void reload(ServerConfig fresh);

  ApiKeys keys;
  StructuredOutput structured;  // grammars of answers, compiled once for all requests that use them
  ServerCounters counters;
  std::atomic<bool> draining{false};
  int64_t started = 0;  // unix seconds

 private:
  std::unique_ptr<Service> service_;
  ModelFacts model_;
  mutable std::mutex mutex_;
  std::shared_ptr<const ServerConfig> config_;

 public:  // last, so that they end first: their jobs use everything above
  Sessions sessions;
  DecoderPool decoders;
  WorkerPool workers;   // parsing, templates, tokens, resizing
  WorkerPool media;     // decoding: threads wait for the decoder processes
  WorkerPool fetchers;  // remote media: threads wait for other hosts
};

}  // namespace vl8

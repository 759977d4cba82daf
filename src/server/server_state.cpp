#include "server/server_state.h"

#include "server/transcript.h"

namespace vl8 {
namespace {

constexpr int kFetchers = 8;
constexpr size_t kQueuedJobs = 4096;

ModelFacts facts_of(const Engine& e, const ServerConfig& c, const std::string& folder_name) {
  ModelFacts f;
  f.names.push_back(c.model_name.empty() ? folder_name : c.model_name);
  f.sampling = e.generation().sampling;
  f.vocabulary = e.config().text.vocab_size;
  f.context = e.max_context();
  f.any_name = !c.strict_model_name;
  return f;
}

}  // namespace

ServerState::ServerState(std::unique_ptr<Service> service, const ServerConfig& config, const std::string& folder_name)
    : structured(service->engine().tokenizer()),
      started(unix_seconds()),
      service_(std::move(service)),
      model_(facts_of(service_->engine(), config, folder_name)),
      config_(std::make_shared<ServerConfig>(config)),
      decoders(config.media),
      workers(config.workers, kQueuedJobs),
      media(config.media.decoders, kQueuedJobs),
      fetchers(kFetchers, kQueuedJobs) {
  if (!config.api_key_file.empty()) keys.load(config.api_key_file);
  service_->set_queue_limit(config.queue_requests);
}

std::shared_ptr<const ServerConfig> ServerState::config() const {
  std::lock_guard lock(mutex_);
  return config_;
}

FetchPolicy ServerState::fetch_policy() const { return {config()->media, is_public_address}; }

void ServerState::reload(ServerConfig fresh) {
  auto next = std::make_shared<ServerConfig>(*config());
  for (const SettingRow& row : setting_rows())
    if (row.reloadable) copy_setting(row, fresh, *next);
  next->validate();
  if (!next->api_key_file.empty()) keys.load(next->api_key_file);
  decoders.set_limits(next->media);
  service_->set_queue_limit(next->queue_requests);
  std::lock_guard lock(mutex_);
  config_ = std::move(next);
}

}  // namespace vl8

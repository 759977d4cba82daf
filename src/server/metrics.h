// /metrics in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4). Where a figure
// means what vLLM's means it has vLLM's name, so that its dashboards work; the rest is named vl8_.
#pragma once
#include <array>
#include <atomic>
#include <string>

#include "engine/service.h"
#include "server/decoder_pool.h"
#include "server/http_server.h"

namespace vl8 {

// What the server counts itself; the engine and the sockets have counters of their own.
struct ServerCounters {
  std::array<std::atomic<int64_t>, 5> finished{};  // requests by Finish
  std::array<std::atomic<int64_t>, 6> responses{}; // HTTP answers by status / 100; [0]: none
  std::atomic<int64_t> images{0}, videos{0}, image_pixels{0}, remote_media{0};
  std::atomic<int64_t> tool_calls{0}, streams{0};
};

struct MetricsSources {
  const ServiceStats& service;
  const ServerCounters& server;
  const HttpCounters& http;
  const DecoderPool::Counters& decoders;
  std::string model;
  bool ready = true;
};
std::string metrics_text(const MetricsSources& sources);

}  // namespace vl8

// `vl8 watch`: every source has a thread that takes frames, turns bad ones away, asks the model about what changed, and commits
// what came of it. All threads share one engine through a Service, which batches their questions.
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/service.h"
#include "watch/actions.h"
#include "watch/config.h"
#include "watch/source.h"
#include "watch/store.h"

namespace vl8::watch {

// Of one source, since the start. Every frame that was wanted is in exactly one of: looks, reused, bad, dropped, failed.
struct SourceCounters {
  int64_t frames = 0;                  // taken from the source
  int64_t looks = 0, reused = 0, dropped = 0, failed = 0;
  std::array<int64_t, 6> bad{};        // by FrameFault
  int64_t events = 0, rate_lowered = 0, budget_lowered = 0;
  double rate = 0, budget = 0;         // now
  double activation_sum = 0;           // over looks and reused frames (these count 0)
  double latency_ms_sum = 0, worst_latency_ms = 0, last_latency_ms = 0;
  double decode_ms = 0, judge_ms = 0, pixels_ms = 0, ask_ms = 0, store_ms = 0;  // where the time of the thread went
  double activation() const { return looks + reused > 0 ? activation_sum / double(looks + reused) : 0; }
  int64_t bad_frames() const;
};

struct SourceState {
  std::string name, answer, fault;
  SourceCounters counters;
  std::vector<std::array<double, 4>> boxes;  // of the last answer, pixels
  std::string jpeg;                          // the last frame that was looked at, small
  bool ended = false;
};

class Watcher {
 public:
  // All references outlive the watcher.
  Watcher(WatchConfig config, Service& service, Store& store, Actions& actions);
  ~Watcher();

  // Until every source has ended or `stop` is set. Errors of one source end that source, with a line in the log; when all
  // sources failed to open, the first error is thrown.
  void run(const std::atomic<bool>& stop);
  std::vector<SourceState> states() const;
  // Sparsity, gate, budget and rate of the sources of the same names, from now on; no frame is lost.
  void apply(const WatchConfig& config);
  // 0..1 from outside (line speed); nothing: none. Error(usage) for an unknown source.
  void demand(const std::string& source, std::optional<double> demand);

 private:
  struct Camera;
  void watch(Camera& camera, const std::atomic<bool>& stop);
  void look(Camera& camera, SourceFrame& frame);
  WatchConfig config_;
  Service& service_;
  Store& store_;
  Actions& actions_;
  std::vector<std::unique_ptr<Camera>> cameras_;
};

// The events that an answer makes under the rules of a source.
std::vector<Event> events_of(const SourceConfig& source, const std::string& answer, Size frame, int roi_x, int roi_y);

}  // namespace vl8::watch

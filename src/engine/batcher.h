// The batching engine without threads: requests go in, step() moves all of them on by one step of the model, events come
// out through each request's callback. Owned and called by one thread: the engine thread of a Service, or the caller of
// Engine::chat. Who runs is decided by scheduler.h; this file carries the decisions out.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "engine/generation.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/service_options.h"
#include "engine/step_model.h"
#include "engine/vision_cache.h"

namespace vl8 {

class Batcher {
 public:
  using OnEvent = std::function<void(GenerationEvent)>;

  // least_chunk: as StepLimits; 0 unless the model is an InvariantModel.
  Batcher(std::unique_ptr<StepModel> model, GenerationRules rules, const ServiceOptions& options, int64_t least_chunk);
  ~Batcher();

  // max_tokens must be set (> 0; ignored where pooled), and the request must fit (fits()).
  void add(uint64_t id, GenerationRequest request, OnEvent on_event, SteadyClock::time_point submitted = SteadyClock::now());
  void cancel(uint64_t id);  // at once; unknown ids are ignored
  void cancel_all();
  void fail_all(const std::exception& e);  // every request ends with this error
  bool step();  // false where nothing is left to do
  bool idle() const { return requests_.empty(); }

  // Prompt and answer together, one request alone in the cache.
  bool fits(int64_t tokens) const { return model_->pool().pages_for(tokens) <= model_->pool().pages(); }
  int64_t capacity_tokens() const { return model_->pool().pages() * model_->pool().page_tokens(); }

  const ServiceStats& stats();
  StepModel& model() { return *model_; }

 private:
  struct Request;
  struct EncodeJob;
  double now_s() const;
  void end_overdue();
  std::vector<ScheduleItem> describe();
  bool same_prefix_is_coming(const Request& waiting, size_t matched) const;
  void preempt(Request& r);
  void admit(Request& r);
  void encode(std::vector<StepWork>& work, std::vector<Request*>& who);
  void begin_encoding(const std::vector<StepWork>& work, const std::vector<Request*>& who);
  void advance_encoding(bool answers_run);
  template <typename F>
  void each_asking(F f);
  void deliver(Request& r, const StepOutput& out, int64_t& row, int64_t& hidden_row);
  void emit(Request& r, GenerationEvent e);
  void fail_request(Request& r, const std::exception& e);
  void finish(Request& r);
  void remove_finished();

  std::unique_ptr<StepModel> model_;
  const GenerationRules rules_;
  const ServiceOptions options_;
  const int64_t least_chunk_;
  PrefixCache prefixes_;
  VisionCache features_;
  StepBudget budget_;
  std::vector<std::unique_ptr<Request>> requests_;  // in the order of arrival
  std::unique_ptr<EncodeJob> encoding_;  // pictures on their way through the vision tower
  double patch_block_ms_ = 0;            // of one patch in one block of it, learned
  ServiceStats stats_;
  SteadyClock::time_point start_;
};

}  // namespace vl8

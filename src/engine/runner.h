// One step of the model for a set of sequences: builds the BatchView, encodes pictures that the step needs, runs the
// text tower, and moves the sequences on. It decides nothing: who runs and how far is the caller's plan.
#pragma once
#include "engine/step_model.h"

namespace vl8 {

class Runner : public StepModel {
 public:
  // All references must outlive the runner. The cache is made here and given back by the destructor.
  Runner(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t kv_pages, int64_t page_tokens);
  ~Runner() override;
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  using Work = StepWork;
  using Logits = StepOutput;

  KvPool& pool() override { return pool_; }
  std::unique_ptr<Encoding> start(std::span<const VisualInput* const> visuals) override;
  StepOutput step(std::span<const StepWork> work) override;
  Ops& ops() { return op_; }

  // The sequence's pages go back to the pool; it may be run again from the start.
  void release(Sequence& sequence);

 private:
  void reserve(std::span<const StepWork> work);
  void encode_missing(std::span<const StepWork> work);
  std::vector<float> forward(std::span<const StepWork> work, bool pooled);

  Ops& op_;
  const ModelConfig& config_;
  const ModelWeights& weights_;
  KvPool pool_;
  KvCache cache_;
};

}  // namespace vl8

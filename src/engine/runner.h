// One step of the model for a set of sequences: builds the BatchView, encodes pictures that the step needs, runs the
// text tower, and moves the sequences on. It decides nothing: who runs and how far is the caller's plan.
#pragma once
#include <span>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/sequence.h"

namespace vl8 {

class Runner {
 public:
  // All references must outlive the runner. The cache is made here and given back by the destructor.
  Runner(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t kv_pages, int64_t page_tokens);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  KvPool& pool() { return pool_; }
  Ops& ops() { return op_; }

  struct Work {
    Sequence* sequence;
    int64_t tokens;          // the next ones of its pending tokens, at least 1
    bool all_logits = false; // of every token of the step, not only after the last pending one
  };
  // The rows of logits [R, V] in the order of the work; a sequence whose pending tokens are not used up gives none
  // (unless all_logits). Throws Error(resource) when the pool has too few pages, before anything has changed.
  struct Logits {
    std::vector<float> values;  // [R, V]
    int64_t vocab = 0;
    std::span<const float> row(int64_t r) const { return {values.data() + r * vocab, size_t(vocab)}; }
  };
  Logits step(std::span<const Work> work);

  // The sequence's pages go back to the pool; it may be run again from the start.
  void release(Sequence& sequence);

  double vision_ms() const { return vision_ms_; }  // spent in the vision tower since construction

 private:
  void reserve(std::span<const Work> work);
  void encode_visuals(Sequence& s, int64_t begin, int64_t end);
  void add_visual_spans(const Sequence& s, int64_t begin, int64_t end, int64_t row, std::vector<VisualSpan>& spans) const;

  Ops& op_;
  const ModelConfig& config_;
  const ModelWeights& weights_;
  KvPool pool_;
  KvCache cache_;
  double vision_ms_ = 0;
};

}  // namespace vl8

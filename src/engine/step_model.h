// What the batcher needs of a model: pages, features of pictures, and steps. Runner is the real one; InvariantModel routes
// work so that an answer does not depend on its neighbours; tests have a fake that checks every page it is given.
#pragma once
#include <span>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/sequence.h"

namespace vl8 {

struct StepWork {
  Sequence* sequence;
  int64_t tokens;           // the next ones of its pending tokens, at least 1
  bool all_logits = false;  // of every token of the step, not only after the last pending one
  bool pooled = false;      // no logits; the final hidden state of the last pending token instead
};

// Rows in the order of the work. A sequence whose pending tokens are not used up gives none (unless all_logits).
struct StepOutput {
  std::vector<float> values;  // logits [R, vocab]
  int64_t vocab = 0;
  std::vector<float> hidden;  // [H, width], of pooled work, after the final norm
  int64_t width = 0;
  std::span<const float> row(int64_t r) const { return {values.data() + r * vocab, size_t(vocab)}; }
  std::span<const float> hidden_row(int64_t r) const { return {hidden.data() + r * width, size_t(width)}; }
};

// Pictures and clips on their way through the vision tower, in pieces between which steps may be computed.
class Encoding {
 public:
  virtual ~Encoding() = default;
  virtual int64_t blocks() const = 0;            // in all
  virtual bool advance(int64_t blocks) = 0;      // at most so many more; true when all are done
  virtual std::vector<FeaturesPtr> take() = 0;   // once, when done
};

class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual KvPool& pool() = 0;
  // Begins to compute the features of pictures and clips together. Their patches must live until it is done.
  virtual std::unique_ptr<Encoding> start(std::span<const VisualInput* const> visuals) = 0;
  // Takes pages for all of the work before anything changes: Error(resource) when the pool has too few. Features that the
  // step needs and a sequence lacks are encoded first.
  virtual StepOutput step(std::span<const StepWork> work) = 0;
};

}  // namespace vl8

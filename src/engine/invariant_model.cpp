#include "engine/invariant_model.h"

#include <algorithm>

namespace vl8 {
namespace {

struct Pass {
  std::vector<size_t> items;  // of the work, ascending
  int64_t rows = 0;
  bool few = false;
};

// Which rows go together. Rows of logits are rows of a product too: no pass wants more than kFewRows of them.
std::vector<Pass> route(std::span<const StepWork> work) {
  constexpr int64_t kFew = InvariantModel::kFewRows;
  std::vector<Pass> passes;
  for (bool few : {false, true}) {
    for (size_t i = 0; i < work.size(); ++i) {
      if ((work[i].tokens <= kFew) != few) continue;
      check(!work[i].all_logits, "logits of every token are not batch-invariant");
      Pass* last = passes.empty() || passes.back().few != few ? nullptr : &passes.back();
      const bool full = last && (int64_t(last->items.size()) >= kFew || (few && last->rows + work[i].tokens > kFew));
      if (!last || full) last = &passes.emplace_back(Pass{{}, 0, few});
      last->items.push_back(i);
      last->rows += work[i].tokens;
    }
  }
  return passes;
}

}  // namespace

StepOutput InvariantModel::step(std::span<const StepWork> work) {
  StepOutput all;
  std::vector<std::vector<float>> logits(work.size()), hidden(work.size());
  for (const Pass& pass : route(work)) {
    std::vector<StepWork> part;
    for (size_t i : pass.items) part.push_back(work[i]);
    std::vector<bool> ends;
    for (const StepWork& w : part) ends.push_back(w.sequence->pending() == w.tokens);
    const StepOutput out = inner_->step(part);
    all.vocab = out.vocab, all.width = out.width;
    int64_t row = 0, hidden_row = 0;
    for (size_t p = 0; p < part.size(); ++p) {
      if (!ends[p]) continue;
      const std::span<const float> from = part[p].pooled ? out.hidden_row(hidden_row++) : out.row(row++);
      (part[p].pooled ? hidden : logits)[pass.items[p]].assign(from.begin(), from.end());
    }
  }
  for (const auto& l : logits) all.values.insert(all.values.end(), l.begin(), l.end());
  for (const auto& h : hidden) all.hidden.insert(all.hidden.end(), h.begin(), h.end());
  return all;
}

}  // namespace vl8

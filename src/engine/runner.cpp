#include "engine/runner.h"

#include <algorithm>
#include <chrono>

#include "engine/gating.h"

namespace vl8 {

Runner::Runner(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t kv_pages, int64_t page_tokens)
    : op_(op), config_(config), weights_(weights), pool_(kv_pages, page_tokens),
      cache_(op.make_kv_cache(config.text.layers, config.text.kv_heads, config.text.head_dim, page_tokens, kv_pages)) {}

Runner::~Runner() { op_.free_kv_cache(cache_); }

void Runner::release(Sequence& s) {
  pool_.release(s.pages);
  s.cached = 0;
}

// All or nothing: pages for the whole step are taken before the model runs.
void Runner::reserve(std::span<const Work> work) {
  int64_t more = 0;
  for (const Work& w : work) {
    check(w.tokens > 0 && w.tokens <= w.sequence->pending(), "work of {} tokens, {} are pending", w.tokens, w.sequence->pending());
    more += std::max<int64_t>(0, pool_.pages_for(w.sequence->cached + w.tokens) - int64_t(w.sequence->pages.size()));
  }
  if (more > pool_.free_pages())
    fail(ErrorKind::resource, "the key/value cache is full: this step needs {} more pages of {} tokens, {} of {} are free", more,
         pool_.page_tokens(), pool_.free_pages(), pool_.pages());
  for (const Work& w : work) pool_.grow(w.sequence->pages, w.sequence->cached + w.tokens);
}

// Encodes the pictures with placeholders in tokens [begin, end).
void Runner::encode_visuals(Sequence& s, int64_t begin, int64_t end) {
  s.features.resize(s.prompt.visuals.size());
  for (size_t r = 0; r < s.prompt.runs.size(); ++r) {
    const VisualRun& run = s.prompt.runs[r];
    const size_t v = s.prompt.sources[r].visual;
    if (run.begin >= end || run.begin + run.tokens() <= begin || !s.features[v].main.tensor.empty()) continue;
    auto start = std::chrono::steady_clock::now();
    const VisualInput& input = s.prompt.visuals[v];
    s.features[v] = encode_visual(op_, config_, weights_, input);
    adopt_choice(s.prompt, v, s.features[v]);
    vision_ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
}

void Runner::add_visual_spans(const Sequence& s, int64_t begin, int64_t end, int64_t row, std::vector<VisualSpan>& spans) const {
  for (size_t r = 0; r < s.prompt.runs.size(); ++r) {
    const VisualRun& run = s.prompt.runs[r];
    const int64_t from = std::max(begin, run.begin), to = std::min(end, run.begin + run.tokens());
    if (from >= to) continue;
    const VisionFeatures& f = s.features[s.prompt.sources[r].visual];
    const int64_t first = s.prompt.sources[r].first_row + (from - run.begin), last = first + (to - from);
    VisualSpan span{row + (from - begin), f.main.tensor.slice_rows(first, last), {}};
    for (const Kept& d : f.deepstack) span.deepstack.push_back(d.tensor.slice_rows(first, last));
    spans.push_back(std::move(span));
  }
}

Runner::Logits Runner::step(std::span<const Work> work) {
  reserve(work);
  int64_t total = 0;
  for (const Work& w : work) {
    encode_visuals(*w.sequence, w.sequence->cached, w.sequence->cached + w.tokens);
    total += w.tokens;
  }
  std::vector<int32_t> ids, positions(size_t(3 * total)), logit_rows;
  std::vector<SequenceView> views;
  std::vector<VisualSpan> visual;
  for (const Work& w : work) {
    const Sequence& s = *w.sequence;
    const int64_t row = int64_t(ids.size()), begin = s.cached, end = begin + w.tokens, prompt = s.prompt_tokens();
    views.push_back({int32_t(row), int32_t(w.tokens), int32_t(end), s.pages.data()});
    ids.insert(ids.end(), s.tokens.begin() + begin, s.tokens.begin() + end);
    for (int64_t axis = 0; axis < 3; ++axis)
      for (int64_t i = begin; i < end; ++i)
        positions[size_t(axis * total + row + i - begin)] =
            i < prompt ? s.prompt.positions.axes[size_t(axis * prompt + i)] : s.prompt.positions.next + int32_t(i - prompt);
    add_visual_spans(s, begin, end, row, visual);
    const bool last = end == int64_t(s.tokens.size());
    for (int64_t i = w.all_logits ? 0 : w.tokens - 1; i < w.tokens; ++i)
      if (last || w.all_logits) logit_rows.push_back(int32_t(row + i));
  }
  const BatchView batch{ids, positions.data(), views, visual, logit_rows};
  Logits out;
  out.vocab = config_.text.vocab_size;
  Tensor logits = text_forward(op_, config_.text, weights_, batch, cache_);
  if (!logit_rows.empty()) out.values = op_.download(logits);
  for (const Work& w : work) w.sequence->cached += w.tokens;
  return out;
}

}  // namespace vl8

#include "engine/runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace vl8 {

void drop_used_features(Sequence& s) {
  if (std::none_of(s.features.begin(), s.features.end(), [](const FeaturesPtr& f) { return f != nullptr; })) return;
  std::vector<bool> needed(s.features.size());
  each_visual_in(s.prompt, s.cached, int64_t(s.prompt.ids.size()), [&](size_t v) { needed[v] = true; });
  for (size_t v = 0; v < needed.size(); ++v)
    if (!needed[v]) s.features[v].reset();
}

Runner::Runner(Ops& op, const ModelConfig& config, const ModelWeights& weights, int64_t kv_pages, int64_t page_tokens)
    : op_(op), config_(config), weights_(weights), pool_(kv_pages, page_tokens),
      cache_(op.make_kv_cache(config.text.layers, config.text.kv_heads, config.text.head_dim, page_tokens, kv_pages)) {}

Runner::~Runner() { op_.free_kv_cache(cache_); }

void Runner::release(Sequence& s) {
  pool_.release(s.pages);
  s.cached = 0;
}

// All or nothing: pages for the whole step are taken before the model runs.
void Runner::reserve(std::span<const StepWork> work) {
  int64_t more = 0;
  for (const StepWork& w : work) {
    check(w.tokens > 0 && w.tokens <= w.sequence->pending(), "work of {} tokens, {} are pending", w.tokens, w.sequence->pending());
    more += std::max<int64_t>(0, pool_.pages_for(w.sequence->cached + w.tokens) - int64_t(w.sequence->pages.size()));
  }
  if (more > pool_.free_pages())
    fail(ErrorKind::resource, "the key/value cache is full: this step needs {} more pages of {} tokens, {} of {} are free", more,
         pool_.page_tokens(), pool_.free_pages(), pool_.pages());
  for (const StepWork& w : work) pool_.grow(w.sequence->pages, w.sequence->cached + w.tokens);
}

std::vector<FeaturesPtr> Runner::encode(std::span<const VisualInput* const> visuals) {
  std::vector<FeaturesPtr> out;
  if (visuals.empty()) return out;
  const auto start = std::chrono::steady_clock::now();
  std::vector<Grid> grids;
  int64_t patches = 0;
  for (const VisualInput* v : visuals) grids.push_back(v->grid), patches += v->grid.patches();
  if (visuals.size() == 1) {
    out.push_back(std::make_shared<VisionFeatures>(vision_forward(op_, config_.vision, weights_.vision, visuals[0]->patches->tensor(), grids)));
  } else {
    PatchBuffer joined(DType::f32, patches, config_.vision.patch_features());
    char* at = static_cast<char*>(joined.data());
    for (const VisualInput* v : visuals) {
      const Tensor t = v->patches->tensor();
      std::memcpy(at, t.f32(), t.bytes());
      at += t.bytes();
    }
    const VisionFeatures all = vision_forward(op_, config_.vision, weights_.vision, joined.tensor(), grids);
    int64_t row = 0;  // each picture owns its rows, so that a cache can let go of one alone
    for (const Grid& g : grids) {
      const int64_t end = row + g.tokens(config_.vision.merge_size);
      auto part = std::make_shared<VisionFeatures>();
      part->main = op_.keep(all.main.tensor.slice_rows(row, end));
      for (const Kept& d : all.deepstack) part->deepstack.push_back(op_.keep(d.tensor.slice_rows(row, end)));
      out.push_back(std::move(part));
      row = end;
    }
  }
  vision_ms_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return out;
}

void Runner::encode_missing(std::span<const StepWork> work) {
  for (const StepWork& w : work) {
    Sequence& s = *w.sequence;
    each_visual_in(s.prompt, s.cached, s.cached + w.tokens, [&](size_t v) {
      if (s.features[v]) return;
      const VisualInput* input = &s.prompt.visuals[v];
      s.features[v] = encode(std::span(&input, 1))[0];
    });
  }
}

namespace {

void add_visual_spans(const Sequence& s, int64_t begin, int64_t end, int64_t row, std::vector<VisualSpan>& spans) {
  for (size_t r = 0; r < s.prompt.runs.size(); ++r) {
    const VisualRun& run = s.prompt.runs[r];
    const int64_t from = std::max(begin, run.begin), to = std::min(end, run.begin + run.tokens());
    if (from >= to) continue;
    const VisionFeatures& f = *s.features[s.prompt.sources[r].visual];
    const int64_t first = s.prompt.sources[r].first_row + (from - run.begin), last = first + (to - from);
    VisualSpan span{row + (from - begin), f.main.tensor.slice_rows(first, last), {}};
    for (const Kept& d : f.deepstack) span.deepstack.push_back(d.tensor.slice_rows(first, last));
    spans.push_back(std::move(span));
  }
}

}  // namespace

StepOutput Runner::step(std::span<const StepWork> work) {
  reserve(work);
  encode_missing(work);
  int64_t total = 0;
  for (const StepWork& w : work) total += w.tokens;
  std::vector<int32_t> ids, positions(size_t(3 * total)), logit_rows, hidden_rows;
  std::vector<SequenceView> views;
  std::vector<VisualSpan> visual;
  for (const StepWork& w : work) {
    const Sequence& s = *w.sequence;
    const int64_t row = int64_t(ids.size()), begin = s.cached, end = begin + w.tokens;
    views.push_back({int32_t(row), int32_t(w.tokens), int32_t(end), s.pages.data()});
    ids.insert(ids.end(), s.tokens.begin() + begin, s.tokens.begin() + end);
    for (int64_t axis = 0; axis < 3; ++axis)
      for (int64_t i = begin; i < end; ++i) positions[size_t(axis * total + row + i - begin)] = position_of(s.prompt, axis, i);
    add_visual_spans(s, begin, end, row, visual);
    const bool last = end == int64_t(s.tokens.size());
    if (w.pooled) {
      if (last) hidden_rows.push_back(int32_t(row + w.tokens - 1));
      continue;
    }
    for (int64_t i = w.all_logits ? 0 : w.tokens - 1; i < w.tokens; ++i)
      if (last || w.all_logits) logit_rows.push_back(int32_t(row + i));
  }
  const BatchView batch{ids, positions.data(), views, visual, logit_rows, hidden_rows};
  StepOutput out;
  out.vocab = config_.text.vocab_size;
  out.width = config_.text.hidden_size;
  const TextOutput result = text_forward(op_, config_.text, weights_, batch, cache_);
  if (!logit_rows.empty()) out.values = op_.download(result.logits);
  if (!hidden_rows.empty()) out.hidden = op_.download(result.hidden);
  for (const StepWork& w : work) w.sequence->cached += w.tokens;
  return out;
}

}  // namespace vl8

#include "engine/runner.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/gating.h"

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

namespace {

// One picture as it is, several joined to one list of patches.
class RunnerEncoding : public Encoding {
 public:
  RunnerEncoding(Ops& op, const VisionConfig& c, const VisionWeights& w, std::span<const VisualInput* const> visuals)
      : op_(op), c_(c) {
    check(!visuals.empty(), "nothing to encode");
    int64_t patches = 0;
    for (const VisualInput* v : visuals) grids_.push_back(v->grid), patches += v->grid.patches();
    Tensor input = visuals[0]->patches->tensor();
    if (visuals.size() > 1) {
      joined_.reset(DType::f32, patches, c.patch_features());
      char* at = static_cast<char*>(joined_.data());
      for (const VisualInput* v : visuals) {
        const Tensor t = v->patches->tensor();
        std::memcpy(at, t.f32(), t.bytes());
        at += t.bytes();
      }
      input = joined_.tensor();
    }
    run_.emplace(op, c, w, input, grids_);
  }
  int64_t blocks() const override { return c_.depth; }
  bool advance(int64_t blocks) override { return run_->advance(blocks); }

  std::vector<FeaturesPtr> take() override {
    VisionFeatures all = run_->take();
    std::vector<FeaturesPtr> out;
    if (grids_.size() == 1) {
      out.push_back(std::make_shared<VisionFeatures>(std::move(all)));
      return out;
    }
    int64_t row = 0;  // each picture owns its rows, so that a cache can let go of one alone
    for (const Grid& g : grids_) {
      const int64_t end = row + g.tokens(c_.merge_size);
      auto part = std::make_shared<VisionFeatures>();
      part->main = op_.keep(all.main.tensor.slice_rows(row, end));
      for (const Kept& d : all.deepstack) part->deepstack.push_back(op_.keep(d.tensor.slice_rows(row, end)));
      out.push_back(std::move(part));
      row = end;
    }
    return out;
  }

 private:
  Ops& op_;
  const VisionConfig& c_;
  std::vector<Grid> grids_;
  PatchBuffer joined_;
  std::optional<VisionRun> run_;
};

// Pictures of which a part is computed: one after another, each in one piece (a part is short).
class GatedEncoding : public Encoding {
 public:
  GatedEncoding(Ops& op, const ModelConfig& c, const ModelWeights& w, std::span<const VisualInput* const> visuals)
      : op_(op), c_(c), w_(w), visuals_(visuals.begin(), visuals.end()) {}
  int64_t blocks() const override { return int64_t(visuals_.size()) * c_.vision.depth; }
  bool advance(int64_t) override {
    done_.push_back(std::make_shared<VisionFeatures>(encode_visual(op_, c_, w_, *visuals_[done_.size()])));
    return done_.size() == visuals_.size();
  }
  std::vector<FeaturesPtr> take() override { return std::move(done_); }

 private:
  Ops& op_;
  const ModelConfig& c_;
  const ModelWeights& w_;
  std::vector<const VisualInput*> visuals_;
  std::vector<FeaturesPtr> done_;
};

}  // namespace

std::unique_ptr<Encoding> Runner::start(std::span<const VisualInput* const> visuals) {
  if (std::any_of(visuals.begin(), visuals.end(), [](const VisualInput* v) { return v->gate != nullptr; }))
    return std::make_unique<GatedEncoding>(op_, config_, weights_, visuals);
  return std::make_unique<RunnerEncoding>(op_, config_.vision, weights_.vision, visuals);
}

void Runner::encode_missing(std::span<const StepWork> work) {
  for (const StepWork& w : work) {
    Sequence& s = *w.sequence;
    each_visual_in(s.prompt, s.cached, s.cached + w.tokens, [&](size_t v) {
      const VisualInput* input = &s.prompt.visuals[v];
      if (!s.features[v] && input->slot) s.features[v] = input->slot->features;
      if (!s.features[v]) {
        std::unique_ptr<Encoding> encoding = start(std::span(&input, 1));
        while (!encoding->advance(encoding->blocks())) {
        }
        s.features[v] = encoding->take()[0];
      }
      adopt_choice(s.prompt, v, *s.features[v]);
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

// One forward of the text tower for work that wants the same kind of rows: the rows, end to end.
std::vector<float> Runner::forward(std::span<const StepWork> work, bool pooled) {
  int64_t total = 0;
  for (const StepWork& w : work) total += w.tokens;
  std::vector<int32_t> ids, positions(size_t(3 * total)), rows;
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
    for (int64_t i = w.all_logits ? 0 : w.tokens - 1; i < w.tokens; ++i)
      if (last || w.all_logits) rows.push_back(int32_t(row + i));
  }
  const BatchView batch{ids, positions.data(), views, visual, rows};
  const Tensor out = text_forward(op_, config_.text, weights_, batch, cache_, pooled ? Head::hidden : Head::logits);
  return rows.empty() ? std::vector<float>{} : op_.download(out);
}

StepOutput Runner::step(std::span<const StepWork> work) {
  reserve(work);
  encode_missing(work);
  StepOutput out;
  out.vocab = config_.text.vocab_size, out.width = config_.text.hidden_size;
  for (bool pooled : {false, true}) {
    std::vector<StepWork> part;
    for (const StepWork& w : work)
      if (w.pooled == pooled) part.push_back(w);
    if (!part.empty()) (pooled ? out.hidden : out.values) = forward(part, pooled);
  }
  for (const StepWork& w : work) w.sequence->cached += w.tokens;
  return out;
}

}  // namespace vl8

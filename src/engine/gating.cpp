#include "engine/gating.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string_view>

namespace vl8 {
namespace {

std::vector<int32_t> all_groups(int64_t n) {
  std::vector<int32_t> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) out[size_t(i)] = int32_t(i);
  return out;
}

// Every frame group of a clip keeps at least its best group: a run of placeholders is never empty.
void fill_empty_frames(std::vector<int32_t>& groups, const std::vector<float>& detail, int64_t frames, int64_t per_frame) {
  for (int64_t t = 0; t < frames; ++t) {
    auto first = std::lower_bound(groups.begin(), groups.end(), int32_t(t * per_frame));
    if (first != groups.end() && *first < (t + 1) * per_frame) continue;
    const auto begin = detail.begin() + t * per_frame;
    groups.insert(first, int32_t(std::max_element(begin, begin + per_frame) - detail.begin()));
  }
}

// Features are looked up by what was computed: another choice is another picture.
void mix_into_hash(VisualInput& v, std::span<const std::byte> data) {
  const ContentHash h = hash_bytes(data);
  v.hash.low = v.hash.low * 0x9E3779B97F4A7C15ull + h.low, v.hash.high = v.hash.high * 0xC2B2AE3D27D4EB4Full + h.high;
}

void mix_gate_into_hash(VisualInput& v) {
  const VisualGate& g = *v.gate;
  mix_into_hash(v, std::as_bytes(std::span(g.tower)));
  mix_into_hash(v, std::as_bytes(std::span(g.tokens)));
  if (g.late) mix_into_hash(v, std::as_bytes(std::span(std::string_view(g.late->name))));
  // The features of a stream's memory depend on all looks before: no two are the same.
  static std::atomic<uint64_t> looks{0};
  const uint64_t look = ++looks;
  if (g.memory) mix_into_hash(v, std::as_bytes(std::span(&look, 1)));
}

double tower_flops(const VisionConfig& c) {  // of one group
  const double hidden = double(c.hidden_size), merged = double(c.merged_size());
  const double patch = double(c.depth) * 2 * (4 * hidden * hidden + 2 * hidden * double(c.intermediate_size));
  const double mergers = double(1 + c.deepstack.size()) * 2 * (merged * merged + merged * double(c.out_hidden_size));
  return double(c.merge_size * c.merge_size) * patch + mergers;
}

double text_flops(const ModelConfig& config) {  // of one token
  const TextConfig& c = config.text;
  const double h = double(c.hidden_size);
  double sum = 0;
  for (int64_t i = 0; i < c.layers; ++i) {
    const double mlp = c.is_moe_layer(i) ? double(c.experts_per_token * c.expert_intermediate) : double(c.intermediate_size);
    sum += 2 * h * (2 * double(c.q_width()) + 2 * double(c.kv_width()) + 3 * mlp);
  }
  return sum;
}

std::vector<float> mean_row(const std::vector<float>& x, int64_t n) {
  const size_t c = x.size() / size_t(n);
  std::vector<float> mean(c, 0.0f);
  for (size_t i = 0; i < x.size(); ++i) mean[i % c] += x[i] / float(n);
  return mean;
}

double cosine_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 1e-20, bb = 1e-20;
  for (size_t i = 0; i < a.size(); ++i) dot += double(a[i]) * b[i], aa += double(a[i]) * a[i], bb += double(b[i]) * b[i];
  return 1 - dot / std::sqrt(aa * bb);
}

VisionFeatures gather_features(Ops& op, const VisionFeatures& f, std::span<const int32_t> rows) {
  if (int64_t(rows.size()) == f.main.tensor.rows()) return f;
  VisionFeatures out;
  out.main = op.keep(op.gather_rows(f.main.tensor, rows));
  for (const Kept& d : f.deepstack) out.deepstack.push_back(op.keep(op.gather_rows(d.tensor, rows)));
  return out;
}

// Where each of `wanted` stands in `have`, both ascending.
std::vector<int32_t> places_in(std::span<const int32_t> wanted, std::span<const int32_t> have) {
  std::vector<int32_t> rows;
  size_t at = 0;
  for (int32_t w : wanted) {
    while (at < have.size() && have[at] < w) ++at;
    check(at < have.size() && have[at] == w, "group {} is a token but has no features", w);
    rows.push_back(int32_t(at));
  }
  return rows;
}

// As many tokens a frame group as before, now by what the tower saw.
std::vector<int32_t> choose_again(const VisualGate& g, const Grid& grid, int64_t merge, const std::vector<float>& features,
                                  const std::vector<float>& question) {
  const int64_t h = grid.h / merge, w = grid.w / merge, per_frame = h * w, c = int64_t(features.size()) / (grid.t * per_frame);
  std::vector<int32_t> tokens;
  for (int64_t t = 0; t < grid.t; ++t) {
    const auto begin = std::lower_bound(g.tokens.begin(), g.tokens.end(), int32_t(t * per_frame));
    const auto end = std::lower_bound(begin, g.tokens.end(), int32_t((t + 1) * per_frame));
    const float* x = features.data() + t * per_frame * c;
    auto part = [&](const std::vector<float>& s) {
      return s.empty() ? s : std::vector<float>(s.begin() + t * per_frame, s.begin() + (t + 1) * per_frame);
    };
    GroupScores s{part(g.scores.change), part(g.scores.detail), {}, {}};
    if (g.late->saliency > 0) s.saliency = saliency_scores(x, per_frame, c);
    if (g.late->agreement > 0) s.agreement = agreement_scores(x, per_frame, question.data(), int64_t(question.size()) / c, c);
    for (int32_t i : select_groups(s, h, w, int64_t(end - begin), *g.late)) tokens.push_back(int32_t(t * per_frame) + i);
  }
  return tokens;
}

// The words' embeddings, [m, C].
std::vector<float> embed_words(Ops& op, const ModelWeights& weights, const VisualGate& g) {
  if (g.late->agreement == 0 || g.question.empty()) return {};
  op.begin_step();
  return op.download(op.embed(weights.embed, g.question));
}

}  // namespace

VisionMemory::~VisionMemory() {
  if (op_ && !kv_.k.empty()) op_->free_kv_cache(kv_);
}

const VisionFeatures& VisionMemory::look(Ops& op, const ModelConfig& config, const VisionWeights& w, const Tensor& patches, const Grid& grid,
                                         std::span<const int32_t> groups) {
  const VisionConfig& c = config.vision;
  std::vector<int32_t> everything;
  const bool first = !knows(grid);
  if (first) {
    if (!kv_.k.empty()) op.free_kv_cache(kv_);
    op_ = &op;
    kv_ = op.make_kv_cache(c.depth, c.heads, c.head_dim(), grid.patches(), 1);
    grid_ = grid;
    everything = all_groups(grid.tokens(c.merge_size));
    groups = everything;
  }
  if (groups.empty()) return distance_ = 0, features_;
  const VisionGate gate{groups, &kv_};
  VisionFeatures part = vision_forward(op, c, w, patches, std::span(&grid, 1), &gate);
  if (first) features_ = std::move(part);
  else take_over(part, groups);
  std::vector<float> mean = mean_row(op.download(features_.main.tensor), features_.main.tensor.rows());
  distance_ = mean_.size() == mean.size() && !first ? cosine_distance(mean, mean_) : 0;
  mean_ = std::move(mean);
  return features_;
}

void VisionMemory::take_over(const VisionFeatures& part, std::span<const int32_t> groups) {
  for (size_t i = 0; i < groups.size();) {  // runs of neighbours at once
    size_t end = i + 1;
    while (end < groups.size() && groups[end] == groups[end - 1] + 1) ++end;
    op_->put_rows(features_.main.tensor, groups[i], part.main.tensor.slice_rows(int64_t(i), int64_t(end)));
    for (size_t k = 0; k < part.deepstack.size(); ++k)
      op_->put_rows(features_.deepstack[k].tensor, groups[i], part.deepstack[k].tensor.slice_rows(int64_t(i), int64_t(end)));
    i = end;
  }
}

void gate_visual(VisualInput& v, const Sparsity& sparsity, const ModelConfig& config, VisualStream* stream) {
  if (sparsity.mode == GateMode::off && !stream) return;
  const VisionConfig& c = config.vision;
  const int64_t merge = c.merge_size, h = v.grid.h / merge, w = v.grid.w / merge, n = v.grid.t * h * w;
  const PatchShape shape{c.patch_size, c.temporal_patch_size, c.channels, merge * merge};
  GroupSketch sketch(static_cast<const float*>(v.patches->data()), v.grid.patches(), shape);
  auto gate = std::make_shared<VisualGate>();
  GroupScores& s = gate->scores;
  s.detail = sketch.detail();
  const bool known = stream && v.grid.t == 1 && stream->reference.groups() == n;
  if (known) s.change = sketch.change(stream->reference);
  else if (v.grid.t > 1) s.change = sketch.change_in_clip(h * w);

  const GatePolicy& policy = sparsity.rules();
  const double share = sparsity.mode == GateMode::fixed ? sparsity.share
                       : sparsity.mode == GateMode::off ? 1.0
                                                        : automatic_share(s, sparsity);
  const int64_t keep = std::clamp<int64_t>(std::llround(share * double(n)), 1, n);
  gate->tokens = select_groups(s, v.grid.t * h, w, keep, policy);
  fill_empty_frames(gate->tokens, s.detail, v.grid.t, h * w);
  if (!policy.before_tower() && keep < n) gate->late = &policy;
  if (stream) {
    gate->memory = stream->memory;
    // Only what changed is computed again, and of that as much as the budget allows: the rest stays as it was last seen.
    if (known) {
      gate->tower = changed_groups(s.change, h, w);
      if (int64_t(gate->tower.size()) > keep) gate->tower = select_groups({s.change, {}, {}, {}}, h, w, keep, find_gate_policy("change"));
      stream->reference.update(sketch, gate->tower);
    } else {
      gate->tower = all_groups(n);
      stream->reference = std::move(sketch);
    }
  } else {
    gate->tower = policy.before_tower() ? gate->tokens : all_groups(n);
  }
  v.gate = std::move(gate);
  mix_gate_into_hash(v);
}

void note_question(Prompt& prompt) {
  std::vector<int32_t> words;
  int64_t at = 0;
  for (const VisualRun& run : prompt.runs) {
    words.insert(words.end(), prompt.ids.begin() + at, prompt.ids.begin() + run.begin);
    at = run.begin + run.tokens();
  }
  words.insert(words.end(), prompt.ids.begin() + at, prompt.ids.end());
  for (VisualInput& v : prompt.visuals) {
    if (!v.gate || !v.gate->late) continue;
    auto gate = std::make_shared<VisualGate>(*v.gate);
    gate->question = words;
    v.gate = gate;
    mix_into_hash(v, std::as_bytes(std::span(words)));
  }
}

VisionFeatures encode_visual(Ops& op, const ModelConfig& config, const ModelWeights& weights, const VisualInput& v) {
  const VisionConfig& c = config.vision;
  if (!v.gate) return vision_forward(op, c, weights.vision, v.patches->tensor(), std::span(&v.grid, 1));
  const VisualGate& g = *v.gate;
  VisionFeatures part;
  std::vector<int32_t> have;
  if (g.memory) {
    part = g.memory->look(op, config, weights.vision, v.patches->tensor(), v.grid, g.tower);  // shares the memory's features
    have = all_groups(v.grid.tokens(c.merge_size));
    part.main = op.keep(part.main.tensor);  // they change with the next look; a request keeps its own
    for (Kept& d : part.deepstack) d = op.keep(d.tensor);
  } else {
    have = g.tower;
    const VisionGate gate{g.tower, nullptr};
    part = vision_forward(op, c, weights.vision, v.patches->tensor(), std::span(&v.grid, 1), &gate);
  }
  std::vector<int32_t> tokens = g.late ? choose_again(g, v.grid, c.merge_size, op.download(part.main.tensor), embed_words(op, weights, g)) : g.tokens;
  op.begin_step();
  VisionFeatures out = gather_features(op, part, places_in(tokens, have));
  if (g.late) out.tokens = std::move(tokens);
  return out;
}

void adopt_choice(Prompt& prompt, size_t visual, const VisionFeatures& features) {
  const VisualInput& input = prompt.visuals[visual];
  if (!input.gate || !input.gate->late) return;
  size_t at = 0;
  int64_t group = 0;
  for (size_t r = 0; r < prompt.runs.size(); ++r) {
    if (prompt.sources[r].visual != visual) continue;
    VisualRun& run = prompt.runs[r];
    const int32_t first = int32_t(group++ * run.h * run.w);
    for (int32_t& k : run.kept) k = features.tokens[at++] - first;
  }
  prompt.positions = prompt_positions(int64_t(prompt.ids.size()), prompt.runs);
}

double activation(const Prompt& prompt, const ModelConfig& config) {
  const double tower = tower_flops(config.vision), text = text_flops(config);
  double done = 0, all = 0;
  for (const VisualInput& v : prompt.visuals) {
    const double groups = double(v.grid.tokens(config.vision.merge_size));
    all += groups * (tower + text);
    done += v.gate ? double(v.gate->tower.size()) * tower + double(v.gate->tokens.size()) * text : groups * (tower + text);
  }
  return all > 0 ? done / all : 0;
}

}  // namespace vl8

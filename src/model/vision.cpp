// The vision tower: spec section 6.
#include <algorithm>

#include "model/model.h"

namespace vl8 {
namespace {

constexpr float kLayerNormEps = 1e-6f;  // fixed in this family, not in config.json

// Each frame group is one segment of rows that attends to itself.
std::vector<int32_t> attention_segments(std::span<const Grid> grids) {
  std::vector<int32_t> ends{0};
  for (const Grid& g : grids)
    for (int64_t t = 0; t < g.t; ++t) ends.push_back(ends.back() + int32_t(g.h * g.w));
  return ends;
}

// The rows of the kept groups: merge² consecutive rows each.
std::vector<int32_t> rows_of_groups(std::span<const int32_t> groups, int64_t block) {
  std::vector<int32_t> rows;
  for (int32_t g : groups)
    for (int64_t i = 0; i < block; ++i) rows.push_back(int32_t(g * block + i));
  return rows;
}

// Segments of the rows that are left; frame groups of which nothing is left vanish.
std::vector<int32_t> segments_of(std::span<const int32_t> rows, std::span<const int32_t> whole) {
  std::vector<int32_t> ends{0};
  for (size_t s = 1; s < whole.size(); ++s) {
    const int32_t end = int32_t(std::lower_bound(rows.begin(), rows.end(), whole[s]) - rows.begin());
    if (end > ends.back()) ends.push_back(end);
  }
  return ends;
}

// Four patches (one 2x2 block, consecutive rows) become one token (spec 6.5).
Tensor merge_patches(Ops& op, const Merger& m, const Tensor& x, int64_t merged, bool norm_after_merge) {
  const Shape wide{merged, x.shape.elements() / merged};
  Tensor h = norm_after_merge ? op.layer_norm(x.reshape(wide), m.norm, m.norm_bias, kLayerNormEps)
                              : op.layer_norm(x, m.norm, m.norm_bias, kLayerNormEps).reshape(wide);
  return op.linear(op.linear(h, m.fc1, Activation::gelu_erf), m.fc2);
}

}  // namespace

VisionRun::VisionRun(Ops& op, const VisionConfig& config, const VisionWeights& weights, const Tensor& patches, std::span<const Grid> grids,
                     const VisionGate* gate)
    : op_(op), c_(config), w_(weights), patches_(patches), grids_(grids.begin(), grids.end()), segments_(attention_segments(grids)) {
  if (!gate) return;
  check(!gate->memory || (grids.size() == 1 && grids[0].t == 1), "a vision memory holds one picture, not {} grids", grids.size());
  gated_ = true, memory_ = gate->memory;
  rows_ = rows_of_groups(gate->groups, c_.merge_size * c_.merge_size);
  segments_ = segments_of(rows_, segments_);
}

void VisionRun::run_block(int64_t i, Tensor& x, const Rope& rope) {
  const VisionBlock& b = w_.blocks[size_t(i)];
  op_.next_layer();
  Tensor qkv = op_.linear(op_.layer_norm(x, b.norm1, b.norm1_bias, kLayerNormEps), b.qkv);
  Tensor a = memory_ ? op_.vision_attention_memory(qkv, c_.heads, rope, *memory_, i, rows_) : op_.vision_attention(qkv, c_.heads, rope, segments_);
  Tensor h = op_.linear_residual(x, a, b.proj);
  Tensor f = op_.linear(op_.layer_norm(h, b.norm2, b.norm2_bias, kLayerNormEps), b.fc1, Activation::gelu_tanh);
  x = op_.linear_residual(h, f, b.fc2);
  if (op_.taps()) op_.tap(fmt::format("visual.blocks.{}", i), x);

  auto tap = std::find(c_.deepstack.begin(), c_.deepstack.end(), i);
  if (tap == c_.deepstack.end()) return;
  const size_t k = size_t(tap - c_.deepstack.begin());
  Tensor feature = merge_patches(op_, w_.deepstack[k], x, x.rows() / (c_.merge_size * c_.merge_size), true);
  if (op_.taps()) op_.tap(fmt::format("visual.deepstack_merger_list.{}", k), feature);
  out_.deepstack.resize(w_.deepstack.size());
  out_.deepstack[k] = op_.keep(feature);
}

bool VisionRun::advance(int64_t blocks) {
  op_.begin_step();
  Rope rope = op_.vision_rope(grids_, c_.head_dim(), c_.merge_size);
  if (gated_) rope = {op_.gather_rows(rope.cos, rows_), op_.gather_rows(rope.sin, rows_)};
  Tensor x = x_.tensor;
  if (next_ == 0) {
    x = op_.patch_embed(op_.upload(patches_), w_.patch_embed, c_.channels);
    op_.tap("visual.patch_embed", x);
    x = op_.add_position_embedding(x, w_.position_table, grids_, c_.merge_size);
    if (gated_) x = op_.gather_rows(x, rows_);
  }
  const int64_t end = std::min(c_.depth, next_ + std::max<int64_t>(1, blocks));
  for (; next_ < end; ++next_) run_block(next_, x, rope);
  if (next_ < c_.depth) {
    x_ = op_.keep(x);
    return false;
  }
  Tensor main = merge_patches(op_, w_.merger, x, x.rows() / (c_.merge_size * c_.merge_size), false);
  op_.tap("visual.merger", main);
  out_.main = op_.keep(main);
  x_ = {};
  return true;
}

VisionFeatures VisionRun::take() { return std::move(out_); }

VisionFeatures vision_forward(Ops& op, const VisionConfig& c, const VisionWeights& w, const Tensor& patches, std::span<const Grid> grids,
                              const VisionGate* gate) {
  VisionRun run(op, c, w, patches, grids, gate);
  run.advance(c.depth);
  return run.take();
}

}  // namespace vl8

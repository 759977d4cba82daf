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

VisionFeatures vision_forward(Ops& op, const VisionConfig& c, const VisionWeights& w, const Tensor& patches,
                              std::span<const Grid> grids, const VisionGate* gate) {
  op.begin_step();
  std::vector<int32_t> segments = attention_segments(grids);
  const int64_t block = c.merge_size * c.merge_size;
  Rope rope = op.vision_rope(grids, c.head_dim(), c.merge_size);
  Tensor x = op.linear(op.upload(patches), w.patch_embed);
  op.tap("visual.patch_embed", x);
  x = op.add_position_embedding(x, w.position_table, grids, c.merge_size);
  std::vector<int32_t> rows;
  if (gate) {
    check(!gate->memory || (grids.size() == 1 && grids[0].t == 1), "a vision memory holds one picture, not {} grids", grids.size());
    rows = rows_of_groups(gate->groups, block);
    segments = segments_of(rows, segments);
    x = op.gather_rows(x, rows);
    rope = {op.gather_rows(rope.cos, rows), op.gather_rows(rope.sin, rows)};
  }
  const int64_t merged = x.rows() / block;

  VisionFeatures out;
  for (int64_t i = 0; i < c.depth; ++i) {
    const VisionBlock& b = w.blocks[size_t(i)];
    op.next_layer();
    Tensor qkv = op.linear(op.layer_norm(x, b.norm1, b.norm1_bias, kLayerNormEps), b.qkv);
    Tensor a = gate && gate->memory ? op.vision_attention_memory(qkv, c.heads, rope, *gate->memory, i, rows)
                                    : op.vision_attention(qkv, c.heads, rope, segments);
    Tensor h = op.linear_residual(x, a, b.proj);
    Tensor f = op.linear(op.layer_norm(h, b.norm2, b.norm2_bias, kLayerNormEps), b.fc1, Activation::gelu_tanh);
    x = op.linear_residual(h, f, b.fc2);
    if (op.taps()) op.tap(fmt::format("visual.blocks.{}", i), x);

    auto tap = std::find(c.deepstack.begin(), c.deepstack.end(), i);
    if (tap == c.deepstack.end()) continue;
    const size_t k = size_t(tap - c.deepstack.begin());
    Tensor feature = merge_patches(op, w.deepstack[k], x, merged, true);
    if (op.taps()) op.tap(fmt::format("visual.deepstack_merger_list.{}", k), feature);
    out.deepstack.resize(w.deepstack.size());
    out.deepstack[k] = op.keep(feature);
  }
  Tensor main = merge_patches(op, w.merger, x, merged, false);
  op.tap("visual.merger", main);
  out.main = op.keep(main);
  return out;
}

}  // namespace vl8

// The language tower: spec section 7.
#include "model/model.h"

namespace vl8 {
namespace {

// Embeddings, with visual features in the place of their placeholders (spec 7.1).
Tensor input_embeddings(Ops& op, const ModelWeights& w, const BatchView& b) {
  Tensor x = op.embed(w.embed, b.token_ids);
  for (const VisualSpan& span : b.visual) op.put_rows(x, span.row, span.features);
  op.tap("inputs_embeds", x);
  return x;
}

void tap_rope(Ops& op, const Rope& rope) {
  op.tap("rope.cos", rope.cos);
  op.tap("rope.sin", rope.sin);
}

bool takes_deepstack(const BatchView& b, int64_t layer) {
  for (const VisualSpan& span : b.visual)
    if (size_t(layer) < span.deepstack.size()) return true;
  return false;
}

Tensor forward(Ops& op, const TextConfig& c, const ModelWeights& w, const BatchView& b, KvCache& kv, Head head) {
  op.begin_step();
  Tensor x = input_embeddings(op, w, b), delta;  // residual stream [T, C] and what the last half-layer adds to it
  const Rope rope = op.mrope(b.positions, b.tokens(), c.rope);
  tap_rope(op, rope);

  for (int64_t i = 0; i < c.layers; ++i) {
    const TextLayer& l = w.layers[size_t(i)];
    op.next_layer();
    // 1. attention
    auto [h, x1] = delta.empty() ? Normed{op.rms_norm(x, l.input_norm, c.rms_norm_eps), x}
                                 : op.add_rms_norm(x, delta, l.input_norm, c.rms_norm_eps);
    QkvHeads qkv = op.qk_norm_rope(op.linear(h, l.qkv), {c.q_heads, c.kv_heads, c.head_dim}, l.q_norm, l.k_norm, c.rms_norm_eps, rope);
    Tensor a = op.reduce(op.linear(op.attention(qkv, kv, i, b), l.o));
    if (op.taps()) op.tap(fmt::format("layers.{}.self_attn", i), a);
    // 2. feed-forward
    auto [m, x2] = op.add_rms_norm(x1, a, l.post_norm, c.rms_norm_eps);
    delta = op.reduce(l.is_moe ? op.moe(m, l.moe) : op.linear(op.gated_linear(m, l.gate_up), l.down));
    x = x2;
    if (op.taps()) {
      op.tap(fmt::format("layers.{}.mlp", i), delta);
      op.tap(fmt::format("layers.{}", i), op.add(x, delta));
    }
    // 3. DeepStack: the first layers' outputs take the features of the vision tower's middle blocks, after the
    // residual's own sum, as the reference adds them
    if (!takes_deepstack(b, i)) continue;
    x = op.add(x, delta), delta = {};
    for (const VisualSpan& span : b.visual)
      if (size_t(i) < span.deepstack.size()) op.add_rows(x, span.row, span.deepstack[size_t(i)]);
  }

  op.next_layer();
  if (b.logit_rows.empty() && !op.taps()) return {};
  Tensor last = delta.empty() ? x : op.add(x, delta);
  if (op.taps()) op.tap("norm", op.rms_norm(last, w.norm, c.rms_norm_eps));
  if (b.logit_rows.empty()) return {};
  Tensor h = op.rms_norm(op.gather_rows(last, b.logit_rows), w.norm, c.rms_norm_eps);
  return head == Head::hidden ? h : op.linear(h, w.head);
}

}  // namespace

Tensor text_forward(Ops& op, const TextConfig& c, const ModelWeights& w, const BatchView& b, KvCache& kv, Head head) {
  if (head == Head::hidden) return forward(op, c, w, b, kv, head);  // a step that a backend may replay always ends in logits
  return op.step(b, kv, [&] { return forward(op, c, w, b, kv, head); });
}

}  // namespace vl8

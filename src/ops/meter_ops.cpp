#include "ops/meter_ops.h"

#include <algorithm>
#include <chrono>

namespace vl8 {

std::string_view verb_name(Verb verb) {
  constexpr std::string_view kNames[] = {"linear", "attention", "vision_attention", "moe", "norm", "element", "embed"};
  return kNames[size_t(verb)];
}

double weight_bytes(const Weight& w) {
  double bytes = 0;
  for (const WeightPart& p : w.parts) {
    bytes += double(p.rows) * double(p.row_bytes(w.k));
    if (p.scale_kind == ScaleKind::block)
      bytes += 4.0 * double((p.rows + p.block_rows - 1) / p.block_rows) * double((w.k + p.block_cols - 1) / p.block_cols);
    if (p.scale_kind == ScaleKind::group) bytes += (p.scale ? 4.0 : 2.0) * double(p.rows) * double(w.k / p.block_cols);
    if (p.scale_kind == ScaleKind::channel) bytes += 4.0 * double(p.rows);
  }
  return bytes;
}

VerbCost MeterOps::total() const {
  VerbCost t;
  for (const VerbCost& c : costs_) {
    t.calls += c.calls, t.flops += c.flops, t.weight_bytes += c.weight_bytes, t.kv_bytes += c.kv_bytes, t.ms += c.ms;
  }
  return t;
}

Tensor MeterOps::step(const BatchView& batch, KvCache& kv, const std::function<Tensor()>& forward) {
  const Costs before = costs_;
  bool issued = false;
  Tensor out = inner_.step(batch, kv, [&] {
    issued = true;
    return forward();
  });
  Costs& recorded = recorded_[batch.tokens()];
  for (size_t v = 0; v < costs_.size(); ++v) {
    if (issued) {
      recorded[v] = {costs_[v].calls - before[v].calls, costs_[v].flops - before[v].flops,
                     costs_[v].weight_bytes - before[v].weight_bytes, costs_[v].kv_bytes - before[v].kv_bytes, 0};
    } else {
      costs_[v].calls += recorded[v].calls, costs_[v].flops += recorded[v].flops;
      costs_[v].weight_bytes += recorded[v].weight_bytes, costs_[v].kv_bytes += recorded[v].kv_bytes;
    }
  }
  return out;
}

template <typename F>
auto MeterOps::timed(Verb verb, double flops, double weights, double kv, F f) {
  auto start = std::chrono::steady_clock::now();
  auto result = f();
  VerbCost& c = costs_[size_t(verb)];
  c.ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  ++c.calls, c.flops += flops, c.weight_bytes += weights, c.kv_bytes += kv;
  return result;
}

Tensor MeterOps::do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) {
  double flops = 2.0 * double(x.rows()) * double(w.weight.n) * double(w.weight.k);
  return timed(Verb::linear, flops, weight_bytes(w.weight), 0, [&] { return ForwardOps::do_linear(x, w, act, residual); });
}
Tensor MeterOps::do_gated_linear(const Tensor& x, const Linear& w) {
  double flops = 2.0 * double(x.rows()) * double(w.weight.n) * double(w.weight.k);
  return timed(Verb::linear, flops, weight_bytes(w.weight), 0, [&] { return ForwardOps::do_gated_linear(x, w); });
}
Tensor MeterOps::do_patch_embed(const Tensor& patches, const Linear& w, int64_t channels) {
  double flops = 2.0 * double(patches.rows()) * double(w.weight.n) * double(w.weight.k);
  return timed(Verb::linear, flops, weight_bytes(w.weight), 0, [&] { return ForwardOps::do_patch_embed(patches, w, channels); });
}
Tensor MeterOps::do_embed(const Weight& table, std::span<const int32_t> ids) {
  double bytes = double(ids.size()) * double(table.parts[0].row_bytes(table.k));
  return timed(Verb::embed, 0, bytes, 0, [&] { return ForwardOps::do_embed(table, ids); });
}
Normed MeterOps::do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) {
  return timed(Verb::norm, 0, 0, 0, [&] { return ForwardOps::do_rms_norm(x, delta, weight, eps); });
}
Tensor MeterOps::do_add(const Tensor& x, const Tensor& y) {
  return timed(Verb::element, 0, 0, 0, [&] { return ForwardOps::do_add(x, y); });
}
QkvHeads MeterOps::do_qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                                   const Rope& rope) {
  return timed(Verb::norm, 0, 0, 0, [&] { return ForwardOps::do_qk_norm_rope(qkv, heads, q_norm, k_norm, eps, rope); });
}

Tensor MeterOps::do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) {
  double pairs = 0, keys = 0;  // (query, key) pairs that the causal mask leaves
  for (const SequenceView& s : batch.sequences) {
    pairs += double(s.q_len) * double(s.kv_len - s.q_len) + double(s.q_len) * double(s.q_len + 1) / 2;
    keys += s.kv_len;
  }
  double flops = 4.0 * pairs * double(qkv.q.shape[1]) * double(cache.head_dim);
  double kv = 2.0 * keys * double(cache.kv_heads * cache.head_dim) * double(dtype_bytes(cache.dtype));
  return timed(Verb::attention, flops, 0, kv, [&] { return ForwardOps::do_attention(qkv, cache, layer, batch); });
}
Tensor MeterOps::do_silu_mul(const Tensor& gate_up) {
  return timed(Verb::element, 0, 0, 0, [&] { return ForwardOps::do_silu_mul(gate_up); });
}

// The experts that are hit are not known here without the router's answer; the least is top_k per token, at most all.
Tensor MeterOps::do_moe(const Tensor& x, const Moe& moe) {
  const Weight &up = moe.gate_up[0].weight, &down = moe.down[0].weight;
  const double active = double(std::min<int64_t>(x.rows() * moe.top_k, int64_t(moe.gate_up.size())));
  double flops = 2.0 * double(x.rows()) *
                 (double(moe.top_k) * double(up.n * up.k + down.n * down.k) + double(moe.router.weight.n * moe.router.weight.k));
  double bytes = active * (weight_bytes(up) + weight_bytes(down)) + weight_bytes(moe.router.weight);
  return timed(Verb::moe, flops, bytes, 0, [&] { return ForwardOps::do_moe(x, moe); });
}
Tensor MeterOps::do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  return timed(Verb::norm, 0, 0, 0, [&] { return ForwardOps::do_layer_norm(x, weight, bias, eps); });
}
Tensor MeterOps::do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments) {
  double pairs = 0;
  for (size_t i = 1; i < segments.size(); ++i) pairs += double(segments[i] - segments[i - 1]) * double(segments[i] - segments[i - 1]);
  double flops = 4.0 * pairs * double(qkv.shape[1]) / 3;
  return timed(Verb::vision_attention, flops, 0, 0, [&] { return ForwardOps::do_vision_attention(qkv, heads, rope, segments); });
}

Tensor MeterOps::do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                            std::span<const int32_t> rows) {
  const double flops = 4.0 * double(rows.size()) * double(memory.page_tokens) * double(qkv.shape[1]) / 3;
  return timed(Verb::vision_attention, flops, 0, 0,
               [&] { return ForwardOps::do_vision_attention_memory(qkv, heads, rope, memory, layer, rows); });
}

}  // namespace vl8

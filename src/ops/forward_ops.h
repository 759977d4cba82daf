// Base of decorators: every verb goes on to another Ops. A decorator overrides what it wants to see.
#pragma once
#include "ops/ops.h"

namespace vl8 {

class ForwardOps : public Ops {
 public:
  explicit ForwardOps(Ops& inner) : inner_(inner) {}
  Arena& arena() override { return inner_.arena(); }
  Precision precision() const override { return inner_.precision(); }
  std::string_view name() const override { return inner_.name(); }
  bool batch_invariant() const override { return inner_.batch_invariant(); }
  void begin_step() override { inner_.begin_step(); }
  void next_layer() override { inner_.next_layer(); }
  Kept keep(const Tensor& x) override { return inner_.keep(x); }
  void prepare(Weight& weight) override { inner_.prepare(weight); }
  void prepare_vector(Tensor& weight) override { inner_.prepare_vector(weight); }
  void prepare_experts(Moe& moe) override { inner_.prepare_experts(moe); }
  Tensor step(const BatchView& batch, KvCache& kv, const std::function<Tensor()>& forward) override {
    return inner_.step(batch, kv, forward);
  }
  KvCache make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens, int64_t pages) override {
    return inner_.make_kv_cache(layers, kv_heads, head_dim, page_tokens, pages);
  }
  void free_kv_cache(KvCache& cache) override { inner_.free_kv_cache(cache); }
  Tensor upload(const Tensor& host) override { return inner_.upload(host); }
  std::vector<float> download(const Tensor& x) override { return inner_.download(x); }
  std::vector<int32_t> argmax(const Tensor& logits) override { return inner_.argmax(logits); }
  void synchronize() override { inner_.synchronize(); }
  size_t device_bytes() const override { return inner_.device_bytes(); }
  bool taps() const override { return inner_.taps(); }
  void tap(std::string_view name, const Tensor& x) override { inner_.tap(name, x); }
  Tensor reduce(const Tensor& partial) override { return inner_.reduce(partial); }

 protected:
  Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) override {
    return residual ? inner_.linear_residual(*residual, x, w) : inner_.linear(x, w, act);
  }
  Tensor do_gather_rows(const Tensor& x, std::span<const int32_t> rows) override { return inner_.gather_rows(x, rows); }
  Tensor do_embed(const Weight& table, std::span<const int32_t> ids) override { return inner_.embed(table, ids); }
  void do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) override {
    accumulate ? inner_.add_rows(x, row, src) : inner_.put_rows(x, row, src);
  }
  Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) override {
    return delta ? inner_.add_rms_norm(x, *delta, weight, eps) : Normed{inner_.rms_norm(x, weight, eps), x};
  }
  Tensor do_add(const Tensor& x, const Tensor& y) override { return inner_.add(x, y); }
  Rope do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) override {
    return inner_.mrope(positions, tokens, config);
  }
  QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                           const Rope& rope) override {
    return inner_.qk_norm_rope(qkv, heads, q_norm, k_norm, eps, rope);
  }
  Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) override {
    return inner_.attention(qkv, cache, layer, batch);
  }
  Tensor do_silu_mul(const Tensor& gate_up) override { return inner_.silu_mul(gate_up); }
  Tensor do_gated_linear(const Tensor& x, const Linear& w) override { return inner_.gated_linear(x, w); }
  Tensor do_moe(const Tensor& x, const Moe& moe) override { return inner_.moe(x, moe); }
  Tensor do_patch_embed(const Tensor& patches, const Linear& w, int64_t channels) override {
    return inner_.patch_embed(patches, w, channels);
  }
  Tensor do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids,
                                   int64_t merge) override {
    return inner_.add_position_embedding(x, table, grids, merge);
  }
  Rope do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) override {
    return inner_.vision_rope(grids, head_dim, merge);
  }
  Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) override {
    return inner_.layer_norm(x, weight, bias, eps);
  }
  Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments) override {
    return inner_.vision_attention(qkv, heads, rope, segments);
  }
  Tensor do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                    std::span<const int32_t> rows) override {
    return inner_.vision_attention_memory(qkv, heads, rope, memory, layer, rows);
  }

  Ops& inner_;
};

}  // namespace vl8

// Every verb as a plain loop on one thread, sums in double: slow, short, and the meaning of the vocabulary. Backends
// are tested against it and may inherit its cold verbs.
#pragma once
#include <vector>

#include "ops/ops.h"

namespace vl8 {

class RefOps : public Ops {
 public:
  explicit RefOps(Precision precision) : precision_(precision) {}
  Arena& arena() override { return arenas_.current(); }
  void begin_step() override { arenas_.begin_step(); }
  void next_layer() override { arenas_.next_layer(); }
  Kept keep(const Tensor& activation) override;
  Precision precision() const override { return precision_; }
  std::string_view name() const override { return "reference"; }
  bool batch_invariant() const override { return true; }
  void prepare(Weight&) override {}
  KvCache make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens, int64_t pages) override;
  void free_kv_cache(KvCache& cache) override;
  Tensor upload(const Tensor& host) override;
  std::vector<float> download(const Tensor& activation) override;

 protected:
  Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) override;
  Tensor do_gather_rows(const Tensor& x, std::span<const int32_t> rows) override;
  Tensor do_embed(const Weight& table, std::span<const int32_t> ids) override;
  void do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) override;
  Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) override;
  Tensor do_add(const Tensor& x, const Tensor& y) override;
  Rope do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) override;
  QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                           const Rope& rope) override;
  Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) override;
  Tensor do_silu_mul(const Tensor& gate_up) override;
  Tensor do_moe(const Tensor& x, const Moe& moe) override;
  Tensor do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids,
                                   int64_t merge) override;
  Rope do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) override;
  Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) override;
  Tensor do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                    std::span<const int32_t> rows) override;
  Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope,
                             std::span<const int32_t> segments) override;

  bool rounds_to_bf16() const { return precision_ == Precision::bf16; }
  Tensor f32(Shape shape) { return arena().tensor(DType::f32, shape); }

 private:
  // A matrix product's input as the precision asks: as it is, rounded to bf16, or through E4M3 groups (w8a8).
  std::vector<float> product_input(const Tensor& x, const Weight& w) const;
  StepArena arenas_;
  Precision precision_;
};

// Parts of the definition that backends share.
std::vector<float> mrope_inverse_frequencies(const RopeConfig& config, float* attention_factor);  // [D/2]
int mrope_axis(int64_t pair, const int64_t section[3]);                                            // 0 T, 1 H, 2 W
float act_f32(Activation act, float z);
// Calls f(row, y, x, t) for the patches of the grids in merge-block order (spec 5.4).
template <typename F>
void each_patch(std::span<const Grid> grids, int64_t merge, F f) {
  int64_t row = 0;
  for (size_t g = 0; g < grids.size(); ++g)
    for (int64_t t = 0; t < grids[g].t; ++t)
      for (int64_t by = 0; by < grids[g].h; by += merge)
        for (int64_t bx = 0; bx < grids[g].w; bx += merge)
          for (int64_t y = by; y < by + merge; ++y)
            for (int64_t x = bx; x < bx + merge; ++x) f(row++, y, x, grids[g]);
}

}  // namespace vl8

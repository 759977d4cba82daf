// A decorator that counts what each verb must do at the least: floating-point operations, bytes of weights and of keys
// and values that have to be read, and the time it took. Shares of a roofline are made from these by `vl8 bench`.
#pragma once
#include <array>
#include <map>
#include <string_view>

#include "ops/forward_ops.h"

namespace vl8 {

enum class Verb : uint8_t { linear, attention, vision_attention, moe, norm, element, embed, count };
std::string_view verb_name(Verb verb);

struct VerbCost {
  int64_t calls = 0;
  double flops = 0, weight_bytes = 0, kv_bytes = 0, ms = 0;
};

class MeterOps : public ForwardOps {
 public:
  using ForwardOps::ForwardOps;
  void clear() { costs_ = {}; }
  const VerbCost& cost(Verb verb) const { return costs_[size_t(verb)]; }
  VerbCost total() const;
  // A step that the backend replays issues no verbs: it is counted as the last step of as many tokens that did.
  Tensor step(const BatchView& batch, KvCache& kv, const std::function<Tensor()>& forward) override;

 protected:
  Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) override;
  Tensor do_patch_embed(const Tensor& patches, const Linear& w, int64_t channels) override;
  Tensor do_gated_linear(const Tensor& x, const Linear& w) override;
  Tensor do_embed(const Weight& table, std::span<const int32_t> ids) override;
  Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) override;
  Tensor do_add(const Tensor& x, const Tensor& y) override;
  QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                           const Rope& rope) override;
  Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) override;
  Tensor do_silu_mul(const Tensor& gate_up) override;
  Tensor do_moe(const Tensor& x, const Moe& moe) override;
  Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) override;
  Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope,
                             std::span<const int32_t> segments) override;
  Tensor do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                    std::span<const int32_t> rows) override;

 private:
  template <typename F>
  auto timed(Verb verb, double flops, double weight_bytes, double kv_bytes, F f);
  using Costs = std::array<VerbCost, size_t(Verb::count)>;
  Costs costs_{};
  std::map<int64_t, Costs> recorded_;  // by tokens of the step
};

// Bytes of a weight as stored, its scales included.
double weight_bytes(const Weight& weight);

}  // namespace vl8

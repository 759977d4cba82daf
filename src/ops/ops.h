// THE vocabulary: every computation of the model is one of these verbs, so that one text of the model runs on the
// reference loops, the CPU kernels, a probe, a meter, and later a GPU and a training tape.
//
// A public verb checks its contract once and calls the private virtual do_... . Results are views in the arena of the
// Ops; how long they live is said at begin_step. Inputs are never changed unless the verb's comment says so.
// Shapes: T tokens, C hidden size, Hq/Hkv query/key heads, D head size, N patches of the vision tower, V vocabulary.
// The type of activations is the backend's secret; the CPU keeps them in F32 and rounds where matrix units need bf16.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/arena.h"
#include "core/grid.h"
#include "core/tensor.h"
#include "ops/batch_view.h"
#include "ops/weight.h"

namespace vl8 {

// f32 and w8a16: float32 arithmetic on exact (dequantised) weights. bf16: matrix products of bf16-rounded inputs with
// float32 sums. w8a8: as f32, but the inputs of FP8 weights are quantised to E4M3 per token and 128 features.
enum class Precision : uint8_t { f32, bf16, w8a16, w8a8 };
enum class Activation : uint8_t { none, gelu_tanh, gelu_erf };

struct Heads {
  int64_t q = 0, kv = 0, dim = 0;
};

struct Rope {
  Tensor cos, sin;  // F32 [T, D/2]; feature i pairs with i + D/2
};

// Interleaved multi-axis rotary embedding (spec 7.3), with YaRN scaling when factor > 1.
struct RopeConfig {
  int64_t head_dim = 0;
  double theta = 0;
  int64_t section[3] = {0, 0, 0};  // pairs on the axes T, H, W
  double yarn_factor = 1;
  int64_t yarn_original_positions = 0;
  double yarn_beta_fast = 32, yarn_beta_slow = 1, yarn_attention_factor = 0;  // 0: 0.1 ln(factor) + 1
};

struct Kept {
  Tensor tensor;
  std::shared_ptr<void> owner;
};
struct Normed {
  Tensor normed, sum;
};
struct QkvHeads {
  Tensor q, k, v;  // [T, Hq, D], [T, Hkv, D], [T, Hkv, D]
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual Arena& arena() = 0;
  // Results taken after begin_step live for the step; results of a layer (after next_layer) until the end of the layer
  // after it. keep() makes a copy that lives as long as its owner, for features that outlive the step.
  virtual void begin_step() = 0;
  virtual void next_layer() = 0;
  virtual Kept keep(const Tensor& activation) = 0;
  virtual Precision precision() const = 0;
  virtual std::string_view name() const = 0;  // "reference", "cpu avx512_bf16", ...
  // Whether the bits of a sequence's results depend on nothing but the sequence: not on what else is in the batch, nor
  // on how its prompt was cut into steps. Greedy tokens are then the same as alone.
  virtual bool batch_invariant() const { return false; }

  // Load time: lets the backend pack or upload a weight. Must be called once for each weight before its use.
  virtual void prepare(Weight& weight) = 0;
  virtual void prepare_vector(Tensor& /*weight*/) {}  // F32 parameters: norms, biases, the position table
  virtual void prepare_experts(Moe& moe);             // all experts of a layer; by default one by one
  virtual KvCache make_kv_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, int64_t page_tokens,
                                int64_t pages) = 0;
  virtual void free_kv_cache(KvCache& cache) = 0;
  virtual Tensor upload(const Tensor& host) = 0;                       // F32 host array to an activation
  virtual std::vector<float> download(const Tensor& activation) = 0;  // any activation as F32 on the host

  virtual std::vector<int32_t> argmax(const Tensor& logits);  // per row, the lowest among equals
  virtual void synchronize() {}                                // waits for what was asked for; a clock may be read then
  virtual size_t device_bytes() const { return 0; }            // memory held on a device of its own

  // One forward of the text tower: `forward` issues its verbs for `batch`. A backend may upload the batch's arrays once
  // here, and may record the verbs of a shape it has seen and replay them without calling `forward`. The result is valid
  // until the next step.
  virtual Tensor step(const BatchView& /*batch*/, KvCache& /*kv*/, const std::function<Tensor()>& forward) { return forward(); }

  // Gives an intermediate its reference module name; only a probe listens.
  virtual bool taps() const { return false; }
  virtual void tap(std::string_view /*name*/, const Tensor& /*value*/) {}

  // --- both towers
  // y = act(x Wᵀ + b): [T, k] -> [T, n].
  Tensor linear(const Tensor& x, const Linear& w, Activation act = Activation::none);
  // residual + (x Wᵀ + b): [T, n].
  Tensor linear_residual(const Tensor& residual, const Tensor& x, const Linear& w);
  Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows);  // [len(rows), C]

  // --- text
  Tensor embed(const Weight& table, std::span<const int32_t> ids);                      // [T, C]
  void put_rows(Tensor& x, int64_t row, const Tensor& src);                              // x[row + i] = src[i], in place
  void add_rows(Tensor& x, int64_t row, const Tensor& src);                              // x[row + i] += src[i], in place
  Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps);                     // per row
  Normed add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, float eps);  // sum = x + delta
  Tensor add(const Tensor& x, const Tensor& y);
  Rope mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config);        // positions [3, T]
  // Splits [T, (Hq + 2 Hkv) D], normalises q and k per head, rotates them (spec 7.4).
  QkvHeads qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                        const Rope& rope);
  // Writes k and v of the step into the pages of `layer`, then causal attention: [T, Hq * D]. Scale is D^-1/2.
  Tensor attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch);
  Tensor silu_mul(const Tensor& gate_up);                                                // [T, 2I] -> [T, I]
  // silu(x gateᵀ) * (x upᵀ), w holding gate's rows and then up's: [T, k] -> [T, n / 2]. One verb, so that a backend may
  // keep the wide middle out of memory.
  Tensor gated_linear(const Tensor& x, const Linear& w);
  Tensor moe(const Tensor& x, const Moe& moe);                                           // [T, C] -> [T, C], spec 7.7
  virtual Tensor reduce(const Tensor& partial) { return partial; }                       // sum over ranks; one rank: identity

  // --- vision
  // A convolution over patches [N, channels * frames * rows * columns] that does not overlap: a linear. A verb of its own,
  // since the order of its sums is that of a convolution where a backend follows the reference to the bit.
  Tensor patch_embed(const Tensor& patches, const Linear& w, int64_t channels);
  // x + interpolated position table (spec 6.2, float32 form), rows in merge-block order (spec 5.4).
  Tensor add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids, int64_t merge);
  Rope vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge);       // spec 6.3
  Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps);
  // qkv [N, 3 Hd]: rotates q and k, full attention inside each segment of rows: [N, Hd]. Segments are the running
  // sums of rows, first 0, last N.
  Tensor vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments);
  // The same for a part of one frame against what is remembered of the whole of it. memory: [depth layers, heads, all rows
  // of the frame, D] in one page (make_kv_cache(depth, heads, D, rows, 1)). The keys (rotated) and values of this call take
  // the places `rows` (ascending) in `layer`; its queries attend to all rows of the memory: [len(rows), Hd]. With all rows
  // it equals vision_attention over one segment.
  Tensor vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                 std::span<const int32_t> rows);

 private:
  virtual Tensor do_linear(const Tensor& x, const Linear& w, Activation act, const Tensor* residual) = 0;
  virtual Tensor do_gather_rows(const Tensor& x, std::span<const int32_t> rows) = 0;
  virtual Tensor do_embed(const Weight& table, std::span<const int32_t> ids) = 0;
  virtual void do_put_rows(Tensor& x, int64_t row, const Tensor& src, bool accumulate) = 0;
  virtual Normed do_rms_norm(const Tensor& x, const Tensor* delta, const Tensor& weight, float eps) = 0;
  virtual Tensor do_add(const Tensor& x, const Tensor& y) = 0;
  virtual Rope do_mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) = 0;
  virtual QkvHeads do_qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                                   const Rope& rope) = 0;
  virtual Tensor do_attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) = 0;
  virtual Tensor do_silu_mul(const Tensor& gate_up) = 0;
  virtual Tensor do_gated_linear(const Tensor& x, const Linear& w) {
    return do_silu_mul(do_linear(x, w, Activation::none, nullptr));
  }
  virtual Tensor do_moe(const Tensor& x, const Moe& moe) = 0;
  virtual Tensor do_patch_embed(const Tensor& patches, const Linear& w, int64_t /*channels*/) {
    return do_linear(patches, w, Activation::none, nullptr);
  }
  virtual Tensor do_add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids,
                                           int64_t merge) = 0;
  virtual Rope do_vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) = 0;
  virtual Tensor do_layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) = 0;
  virtual Tensor do_vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory,
                                            int64_t layer, std::span<const int32_t> rows);  // Error(unsupported) where a backend has none
  virtual Tensor do_vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope,
                                     std::span<const int32_t> segments) = 0;
};

}  // namespace vl8

// The contracts: shapes and ranges of every verb, checked in one place for all backends.
#include "ops/ops.h"

#include <algorithm>

namespace vl8 {
namespace {
void check_matrix(const char* verb, const Tensor& x, int64_t cols) {
  check(!x.empty() && x.shape.rank == 2 && x.shape[1] == cols, "{}: input is {}, expected [T, {}]", verb, x.shape.str(), cols);
}
void check_vector(const char* verb, const Tensor& v, int64_t n) {
  check(!v.empty() && v.shape == Shape{n}, "{}: parameter is {}, expected [{}]", verb, v.shape.str(), n);
}
void check_same(const char* verb, const Tensor& x, const Tensor& y) {
  check(x.shape == y.shape, "{}: shapes {} and {} differ", verb, x.shape.str(), y.shape.str());
}
void check_rows(const char* verb, std::span<const int32_t> rows, int64_t limit) {
  for (int32_t r : rows) check(0 <= r && r < limit, "{}: row {} is outside 0..{}", verb, r, limit - 1);
}
void check_linear(const char* verb, const Tensor& x, const Linear& w) {
  check_matrix(verb, x, w.weight.k);
  if (!w.bias.empty()) check_vector(verb, w.bias, w.weight.n);
}
}  // namespace

Tensor Ops::linear(const Tensor& x, const Linear& w, Activation act) {
  check_linear("linear", x, w);
  return do_linear(x, w, act, nullptr);
}

Tensor Ops::linear_residual(const Tensor& residual, const Tensor& x, const Linear& w) {
  check_linear("linear_residual", x, w);
  check(residual.shape == Shape{x.shape[0], w.weight.n}, "linear_residual: residual is {}", residual.shape.str());
  return do_linear(x, w, Activation::none, &residual);
}

Tensor Ops::gather_rows(const Tensor& x, std::span<const int32_t> rows) {
  check(x.shape.rank == 2, "gather_rows: input is {}", x.shape.str());
  check_rows("gather_rows", rows, x.rows());
  return do_gather_rows(x, rows);
}

Tensor Ops::embed(const Weight& table, std::span<const int32_t> ids) {
  check_rows("embed", ids, table.n);
  return do_embed(table, ids);
}

void Ops::put_rows(Tensor& x, int64_t row, const Tensor& src) {
  check_matrix("put_rows", src, x.shape[1]);
  check(0 <= row && row + src.rows() <= x.rows(), "put_rows: rows {}..{} of {}", row, row + src.rows(), x.rows());
  do_put_rows(x, row, src, false);
}

void Ops::add_rows(Tensor& x, int64_t row, const Tensor& src) {
  check_matrix("add_rows", src, x.shape[1]);
  check(0 <= row && row + src.rows() <= x.rows(), "add_rows: rows {}..{} of {}", row, row + src.rows(), x.rows());
  do_put_rows(x, row, src, true);
}

Tensor Ops::rms_norm(const Tensor& x, const Tensor& weight, float eps) {
  check_vector("rms_norm", weight, x.cols());
  return do_rms_norm(x, nullptr, weight, eps).normed;
}

Normed Ops::add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight, float eps) {
  check_vector("add_rms_norm", weight, x.cols());
  check_same("add_rms_norm", x, delta);
  return do_rms_norm(x, &delta, weight, eps);
}

Tensor Ops::add(const Tensor& x, const Tensor& y) {
  check_same("add", x, y);
  return do_add(x, y);
}

Rope Ops::mrope(const int32_t* positions, int64_t tokens, const RopeConfig& config) {
  check(config.head_dim > 0 && config.head_dim % 2 == 0, "mrope: head size {}", config.head_dim);
  return do_mrope(positions, tokens, config);
}

QkvHeads Ops::qk_norm_rope(const Tensor& qkv, Heads heads, const Tensor& q_norm, const Tensor& k_norm, float eps,
                           const Rope& rope) {
  check_matrix("qk_norm_rope", qkv, (heads.q + 2 * heads.kv) * heads.dim);
  check_vector("qk_norm_rope", q_norm, heads.dim);
  check_vector("qk_norm_rope", k_norm, heads.dim);
  check(rope.cos.shape == Shape{qkv.rows(), heads.dim / 2}, "qk_norm_rope: rope is {}", rope.cos.shape.str());
  return do_qk_norm_rope(qkv, heads, q_norm, k_norm, eps, rope);
}

Tensor Ops::attention(const QkvHeads& qkv, KvCache& cache, int64_t layer, const BatchView& batch) {
  check(qkv.q.shape.rank == 3 && qkv.k.shape == Shape{qkv.q.shape[0], cache.kv_heads, cache.head_dim} &&
            qkv.v.shape == qkv.k.shape && qkv.q.shape[2] == cache.head_dim && qkv.q.shape[1] % cache.kv_heads == 0,
        "attention: q {}, k {}, v {} against a cache of {} heads of {}", qkv.q.shape.str(), qkv.k.shape.str(),
        qkv.v.shape.str(), cache.kv_heads, cache.head_dim);
  check(0 <= layer && layer < cache.layers, "attention: layer {} of {}", layer, cache.layers);
  int64_t rows = 0;
  for (const SequenceView& s : batch.sequences) {
    check(s.q_begin == rows && s.q_len > 0 && s.kv_len >= s.q_len, "attention: sequence of {} rows at {}, {} keys", s.q_len,
          s.q_begin, s.kv_len);
    for (int64_t p = 0; p * cache.page_tokens < s.kv_len; ++p)
      check(0 <= s.pages[p] && s.pages[p] < cache.pages, "attention: page {} of {}", s.pages[p], cache.pages);
    rows += s.q_len;
  }
  check(rows == qkv.q.rows(), "attention: sequences have {} rows, the batch {}", rows, qkv.q.rows());
  return do_attention(qkv, cache, layer, batch);
}

Tensor Ops::silu_mul(const Tensor& gate_up) {
  check(gate_up.shape.rank == 2 && gate_up.shape[1] % 2 == 0, "silu_mul: input is {}", gate_up.shape.str());
  return do_silu_mul(gate_up);
}

Tensor Ops::gated_linear(const Tensor& x, const Linear& w) {
  check_linear("gated_linear", x, w);
  check(w.weight.n % 2 == 0 && w.bias.empty(), "gated_linear: {} rows{}", w.weight.n, w.bias.empty() ? "" : " and a bias");
  return do_gated_linear(x, w);
}

std::vector<int32_t> Ops::argmax(const Tensor& logits) {
  const std::vector<float> values = download(logits);
  const int64_t n = logits.cols();
  std::vector<int32_t> out;
  for (int64_t r = 0; r < logits.rows(); ++r) {
    auto row = values.begin() + r * n;
    out.push_back(int32_t(std::max_element(row, row + n) - row));
  }
  return out;
}

void Ops::prepare_experts(Moe& moe) {
  for (Linear& l : moe.gate_up) prepare(l.weight);
  for (Linear& l : moe.down) prepare(l.weight);
}

Tensor Ops::moe(const Tensor& x, const Moe& moe) {
  check_matrix("moe", x, moe.router.weight.k);
  check(moe.gate_up.size() == size_t(moe.router.weight.n) && moe.down.size() == moe.gate_up.size() && moe.top_k > 0 &&
            moe.top_k <= moe.router.weight.n,
        "moe: {} experts, router for {}, top {}", moe.gate_up.size(), moe.router.weight.n, moe.top_k);
  return do_moe(x, moe);
}

Tensor Ops::patch_embed(const Tensor& patches, const Linear& w, int64_t channels) {
  check_linear("patch_embed", patches, w);
  check(channels > 0 && w.weight.k % channels == 0, "patch_embed: {} columns of {} channels", w.weight.k, channels);
  return do_patch_embed(patches, w, channels);
}

Tensor Ops::add_position_embedding(const Tensor& x, const Tensor& table, std::span<const Grid> grids, int64_t merge) {
  check_matrix("add_position_embedding", x, table.cols());
  int64_t rows = 0;
  for (const Grid& g : grids) rows += g.patches();
  check(rows == x.rows(), "add_position_embedding: grids have {} patches, input {}", rows, x.rows());
  return do_add_position_embedding(x, table, grids, merge);
}

Rope Ops::vision_rope(std::span<const Grid> grids, int64_t head_dim, int64_t merge) {
  check(head_dim % 4 == 0, "vision_rope: head size {} is not a multiple of 4", head_dim);
  for (const Grid& g : grids) check(g.t > 0 && g.h > 0 && g.w > 0 && g.h % merge == 0 && g.w % merge == 0,
                                    "vision_rope: grid {}x{}x{}", g.t, g.h, g.w);
  return do_vision_rope(grids, head_dim, merge);
}

Tensor Ops::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  check_vector("layer_norm", weight, x.cols());
  check_vector("layer_norm", bias, x.cols());
  return do_layer_norm(x, weight, bias, eps);
}

Tensor Ops::vision_attention(const Tensor& qkv, int64_t heads, const Rope& rope, std::span<const int32_t> segments) {
  check(qkv.shape.rank == 2 && qkv.shape[1] % (3 * heads) == 0, "vision_attention: qkv is {}", qkv.shape.str());
  check(segments.size() >= 2 && segments.front() == 0 && segments.back() == qkv.rows(), "vision_attention: segments");
  for (size_t i = 1; i < segments.size(); ++i) check(segments[i - 1] < segments[i], "vision_attention: empty segment");
  check(rope.cos.shape == Shape{qkv.rows(), qkv.shape[1] / (6 * heads)}, "vision_attention: rope is {}",
        rope.cos.shape.str());
  return do_vision_attention(qkv, heads, rope, segments);
}

Tensor Ops::vision_attention_memory(const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                                    std::span<const int32_t> rows) {
  check(qkv.shape.rank == 2 && qkv.shape[1] % (3 * heads) == 0 && qkv.rows() == int64_t(rows.size()),
        "vision_attention_memory: qkv is {} for {} rows", qkv.shape.str(), rows.size());
  check(rope.cos.shape == Shape{qkv.rows(), qkv.shape[1] / (6 * heads)}, "vision_attention_memory: rope is {}", rope.cos.shape.str());
  check(memory.pages == 1 && memory.kv_heads == heads && memory.head_dim * heads * 3 == qkv.shape[1] && 0 <= layer &&
            layer < memory.layers, "vision_attention_memory: layer {} of {}, {} heads of {}", layer, memory.layers, memory.kv_heads,
        memory.head_dim);
  for (size_t i = 0; i < rows.size(); ++i)
    check((i == 0 ? 0 : rows[i - 1] + 1) <= rows[i] && rows[i] < memory.page_tokens, "vision_attention_memory: row {} of {}", rows[i],
          memory.page_tokens);
  return do_vision_attention_memory(qkv, heads, rope, memory, layer, rows);
}

Tensor Ops::do_vision_attention_memory(const Tensor&, int64_t, const Rope&, KvCache&, int64_t, std::span<const int32_t>) {
  fail(ErrorKind::unsupported, "the backend {} does not keep keys and values of the vision tower; set sparsity off for streams", name());
}

}  // namespace vl8

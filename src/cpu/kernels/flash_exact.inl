// Attention for exact precisions: the softmax of a whole row in two passes and one chain of sums per output, in the
// order of scores = (q k) * scale, softmax, probabilities * v as separate float32 operators. A row's bits depend on
// nothing but its own keys. Costs the scores of a few rows in memory (table.h, flash_bytes).
namespace vl8::cpu {
namespace {

constexpr int64_t kExactGroups = 3;  // of query rows at a time: what the micro-kernel takes

VL8_INLINE int64_t padded_keys(int64_t keys) {
  return ceil_div(keys, kKeyBlock) * kKeyBlock;
}
static int64_t exact_flash_bytes(int64_t head_dim, int64_t keys) {
  return FlashPlan<ExactCore>::make(head_dim).total + kExactGroups * padded_keys(keys) * 64;
}

// Softmax over `keys` scores of one vector of rows [key][16], in place. Sixteen running sums (key j goes to sum j mod
// 16) and the tree that joins them are ATen's for AVX-512 (vec_softmax_lastdim, vec_reduce_all); so is the
// multiplication by the reciprocal. `in_line`: one sum, as ATen has it for rows of fewer than 16.
VL8_INLINE void exact_softmax(float* scores, int64_t keys, F limit, F scale, bool in_line) {
  F top = all(kMasked);
  for (int64_t j = 0; j < keys; ++j) {
    const F s = choose(less(limit, all(float(j))), all(kMasked), mul(load(scores + j * 16), scale));
    store(scores + j * 16, s);
    top = max(top, s);
  }
  F sums[16];
  const int64_t mask = in_line ? 0 : 15;
  for (F& s : sums) s = zero();
  for (int64_t j = 0; j < keys; ++j) {
    const F e = exp(sub(load(scores + j * 16), top));
    store(scores + j * 16, e);
    sums[j & mask] = add(sums[j & mask], e);
  }
  for (int step = 8; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) sums[i] = add(sums[i], sums[i + step]);
  const F share = div(all(1.f), sums[0]);
  for (int64_t j = 0; j < keys; ++j) store(scores + j * 16, mul(load(scores + j * 16), share));
}

static void exact_flash(const FlashTask& t) {
  using Core = ExactCore;
  const auto p = FlashPlan<Core>::make(t.head_dim);
  char* scratch = (char*)t.scratch;
  const int64_t rows = t.row_end - t.row_begin, groups = ceil_div(rows, 16), padded = padded_keys(t.kv_len);
  const int64_t last = t.causal ? min64(t.kv_len, t.first_key + (t.row_end - 1) / t.group + 1) : t.kv_len;
  alignas(64) float limit[kExactGroups][16];
  for (int64_t g = 0; g < groups; ++g) pack_queries<Core>(t, p, g, limit[g], scratch + p.q);
  float* scores = (float*)(scratch + p.total);
  float* out = (float*)(scratch + p.out);
  const int64_t key_tile_bytes = ceil_div(p.units, 16) * kTileBytes, out_stride = p.feature_tiles * 256;

  for (int64_t key0 = 0; key0 < last; key0 += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, last - key0);
    pack_keys<Core>(t, p, key0, keys, scratch + p.keys);
    for (int64_t g = 0; g < groups; g += Core::kGroups)
      for (int64_t tile = 0; tile < ceil_div(keys, 16); ++tile)
        Core::store_sums(scratch + p.keys + tile * key_tile_bytes, key_tile_bytes, 1, scratch + p.q + g * p.units * 64,
                         p.units * 64, int(min64(Core::kGroups, groups - g)), p.units,
                         scores + (g * padded + key0 + tile * 16) * 16, padded * 16);
  }
  for (int64_t g = 0; g < groups; ++g)
    for (int part = 0; part < kParts; ++part)
      exact_softmax(scores + g * padded * 16 + part * kWidth, last, load(limit[g] + part * kWidth), all(t.scale),
                    !t.causal && t.kv_len < 16);  // causal rows have company: their order must not depend on it
  for (int64_t key0 = 0; key0 < last; key0 += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, last - key0);
    pack_values<Core>(t, p, key0, keys, scratch + p.values);
    for (int64_t g = 0; g < groups; g += Core::kGroups)
      for (int64_t f = 0; f < p.feature_tiles; ++f)
        Core::continue_sums(scratch + p.values + f * (p.key_units / 16) * kTileBytes,
                            (const char*)(scores + (g * padded + key0) * 16), padded * 64,
                            int(min64(Core::kGroups, groups - g)), keys, key0 == 0, out + g * out_stride + f * 256,
                            out_stride);
  }
  alignas(64) float one[16];
  for (float& x : one) x = 1.f;
  for (int64_t g = 0; g < groups; ++g) write_rows<Core>(t, p, g, out + g * out_stride, one);
}

}  // namespace
}  // namespace vl8::cpu

// Attention of one token (decode): keys and values stream through registers once for all query heads that
// share them.
namespace vl8::cpu {
namespace {

VL8_INLINE F kv_load(const void* row, bool bf16, int64_t i, int64_t n) {
  if (bf16)
    return n >= kWidth ? load_number<Number::bf16>(row, i) : load_number_part<Number::bf16>(row, i, n);
  return load_part((const float*)row + i, n);
}

// scores[g][j] of `keys` keys from key0.
VL8_INLINE void score_block(const DecodeTask& t, int64_t key0, int64_t keys) {
  const int64_t d = t.head_dim;
  for (int64_t j = 0; j < keys; ++j) {
    const char* row = (const char*)kv_row(t.kv, t.kv.k, key0 + j);
    for (int64_t g = 0; g < t.group; g += 4) {  // four heads share a loaded key
      F acc[4] = {zero(), zero(), zero(), zero()};
      const int64_t n = min64(4, t.group - g);
      for (int64_t i = 0; i < d; i += kWidth) {
        F k = kv_load(row, t.kv.bf16, i, d - i);
#pragma GCC unroll 4
        for (int h = 0; h < 4; ++h)
          if (h < n) acc[h] = fma(k, load_part(t.q + (g + h) * d + i, d - i), acc[h]);
      }
#pragma GCC unroll 4
      for (int h = 0; h < 4; ++h)
        if (h < n) t.scratch[(g + h) * kKeyBlock + j] = sum(acc[h]) * t.scale;
    }
  }
}

// Scores of one head to probabilities; scales the head's old output.
VL8_INLINE void soften_block(const DecodeTask& t, int64_t g, int64_t keys) {
  float* s = t.scratch + g * kKeyBlock;
  float top = t.max[g];
  for (int64_t j = 0; j < keys; ++j) top = s[j] > top ? s[j] : top;
  F total = zero(), shift = all(top);
  for (int64_t j = 0; j < keys; j += kWidth) {
    F p = exp(sub(load_part(s + j, keys - j), shift));
    store_part(s + j, p, keys - j);
    total = add(total, load_part(s + j, keys - j));
  }
  alignas(64) float keep[16];
  store(keep, exp(all(t.max[g] - top)));
  if (t.max[g] == -__builtin_inff()) keep[0] = 0;
  t.sum[g] = t.sum[g] * keep[0] + sum(total);
  t.max[g] = top;
  for (int64_t i = 0; i < t.head_dim; i += kWidth) {
    float* o = t.out + g * t.head_dim + i;
    store_part(o, mul(load_part(o, t.head_dim - i), all(keep[0])), t.head_dim - i);
  }
}

VL8_INLINE void add_block(const DecodeTask& t, int64_t key0, int64_t keys) {
  const int64_t d = t.head_dim;
  const void* rows[kKeyBlock];
  for (int64_t j = 0; j < keys; ++j) rows[j] = kv_row(t.kv, t.kv.v, key0 + j);
  for (int64_t g = 0; g < t.group; g += 4) {
    const int64_t n = min64(4, t.group - g);
    for (int64_t i = 0; i < d; i += kWidth) {
      F acc[4];
      for (int h = 0; h < 4; ++h) acc[h] = h < n ? load_part(t.out + (g + h) * d + i, d - i) : zero();
      for (int64_t j = 0; j < keys; ++j) {
        F v = kv_load(rows[j], t.kv.bf16, i, d - i);
#pragma GCC unroll 4
        for (int h = 0; h < 4; ++h)
          acc[h] = fma(v, all(t.scratch[(g + (h < n ? h : 0)) * kKeyBlock + j]), acc[h]);
      }
      for (int h = 0; h < n; ++h) store_part(t.out + (g + h) * d + i, acc[h], d - i);
    }
  }
}

static void decode(const DecodeTask& t) {
  for (int64_t g = 0; g < t.group; ++g) t.max[g] = -__builtin_inff(), t.sum[g] = 0;
  for (int64_t i = 0; i < t.group * t.head_dim; ++i) t.out[i] = 0;
  for (int64_t key0 = t.key_begin; key0 < t.key_end; key0 += kKeyBlock) {
    int64_t keys = min64(kKeyBlock, t.key_end - key0);
    score_block(t, key0, keys);
    for (int64_t g = 0; g < t.group; ++g) soften_block(t, g, keys);
    add_block(t, key0, keys);
  }
}

}  // namespace
}  // namespace vl8::cpu

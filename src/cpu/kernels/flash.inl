// Attention of a block of query rows over the keys of one head, without the score matrix: 128 keys at a time,
// running maximum and sum per row (rows are lanes), scores and outputs through the micro-kernel of micro.inl.
namespace vl8::cpu {
namespace {

// Where the parts of the scratch memory lie, in bytes.
template <class Core>
struct FlashPlan {
  int64_t units, key_units, feature_tiles, q, keys, values, scores, probs, out, total;
  VL8_INLINE FlashPlan make(int64_t d) {
    FlashPlan p;
    p.units = ceil_div(ceil_div(d, Core::kPerUnit), Core::kUnitAlign) * Core::kUnitAlign;
    p.key_units = kKeyBlock / Core::kPerUnit;
    p.feature_tiles = ceil_div(d, 16);
    int64_t key_tiles = kKeyBlock / 16, at = 0;
    p.q = at, at += kFlashGroups * p.units * 64;
    p.keys = at, at += key_tiles * ceil_div(p.units, 16) * kTileBytes;
    p.values = at, at += p.feature_tiles * (p.key_units / 16) * kTileBytes;
    p.scores = at, at += Core::kStages * Core::kGroups * kKeyBlock * 64;
    p.probs = at, at += Core::kStages * Core::kGroups * p.key_units * 64;
    p.out = at, at += kFlashGroups * p.feature_tiles * 16 * 64;
    p.total = at;
    return p;
  }
};

template <class Core>
int64_t flash_bytes(int64_t head_dim, int64_t /*keys*/) {
  return FlashPlan<Core>::make(head_dim).total;
}

// Group g of the task's query rows in the token layout, and the last key that each row sees.
template <class Core>
VL8_INLINE void pack_queries(const FlashTask& t, const FlashPlan<Core>& p, int64_t g, float* limit, char* to) {
  const int64_t rows = t.row_end - t.row_begin;
  RowSet set;
  set.rows = min64(16, rows - g * 16);
  for (int64_t i = 0; i < 16; ++i) {
    const int64_t r = t.row_begin + min64(g * 16 + i, rows - 1);
    set.row[i] = t.q + r / t.group * t.q_token_stride + r % t.group * t.q_head_stride;
    limit[i] = t.causal ? float(t.first_key + r / t.group) : float(t.kv_len);
  }
  Core::pack_group(set, t.head_dim, p.units, t.round_bf16, to + g * p.units * 64);
}

VL8_INLINE const void* kv_row(const KvRows& kv, const void* base, int64_t j) {
  int64_t page = kv.pages ? kv.pages[j / kv.page_tokens] : 0, in = kv.pages ? j % kv.page_tokens : j;
  return (const char*)base + (page * kv.page_stride + in * kv.row_stride) * (kv.bf16 ? 2 : 4);
}

template <class Core>
VL8_INLINE void pack_keys(const FlashTask& t, const FlashPlan<Core>& p, int64_t key0, int64_t keys,
                          char* panel) {
  const int64_t chunks = ceil_div(p.units, 16);
  for (int64_t j = 0; j < ceil_div(keys, 16) * 16; ++j) {
    char* to = panel + j / 16 * chunks * kTileBytes + j % 16 * 64;
    if (j < keys) {
      Core::key_row(kv_row(t.kv, t.kv.k, key0 + j), t.kv.bf16, t.head_dim, p.units, to);
    } else {
      for (int64_t c = 0; c < chunks; ++c) __builtin_memset(to + c * kTileBytes, 0, 64);
    }
  }
}
template <class Core>
VL8_INLINE void pack_values(const FlashTask& t, const FlashPlan<Core>& p, int64_t key0, int64_t keys,
                            char* panel) {
  constexpr int64_t kKeys = 16 * Core::kPerUnit;  // keys of one tile
  for (int64_t j = 0; j < keys; j += kKeys) {
    const void* rows[32];
    int64_t n = min64(kKeys, keys - j);
    for (int64_t i = 0; i < n; ++i) rows[i] = kv_row(t.kv, t.kv.v, key0 + j + i);
    for (int64_t f = 0; f < p.feature_tiles; ++f)
      Core::value_tile(rows, t.kv.bf16, n, f * 16, t.head_dim,
                       panel + (f * (p.key_units / 16) + j / kKeys) * kTileBytes);
  }
}

// Scores of up to kGroups groups, [group][key][16]. Those of the padding beyond `keys` are 0.
template <class Core>
VL8_INLINE void score_keys(const FlashPlan<Core>& p, const char* panel, const char* q, int groups,
                           int64_t keys, float* scores) {
  const int64_t tile_bytes = ceil_div(p.units, 16) * kTileBytes, tiles = ceil_div(keys, 16);
  for (int64_t tile = 0; tile < tiles; tile += Core::kTiles)
    Core::store_sums(panel + tile * tile_bytes, tile_bytes, int(min64(Core::kTiles, tiles - tile)), q,
                     p.units * 64, groups, p.units, scores + tile * 256, kKeyBlock * 16);
}

constexpr float kMasked =
    -1e30f;  // a score that no key has; finite, so that differences of scores never are NaN

// Largest score of each row, after hiding the keys beyond its limit where `masked`.
VL8_INLINE F largest_score(float* scores, int64_t key0, int64_t keys, F limit, bool masked) {
  F a = all(kMasked), b = a;
  int64_t j = 0;
  if (masked) {
    for (; j < keys; ++j) {
      F s = choose(less(limit, all(float(key0 + j))), all(kMasked), load(scores + j * 16));
      store(scores + j * 16, s);
      a = max(a, s);
    }
    return a;
  }
  for (; j + 2 <= keys; j += 2) a = max(a, load(scores + j * 16)), b = max(b, load(scores + j * 16 + 16));
  if (j < keys) a = max(a, load(scores + j * 16));
  return max(a, b);
}

// One vector of rows: scores to probabilities, relative to 2^shift where shift is a maximum of the row that
// may lag behind the true one by up to 2^8, so that old sums seldom have to be scaled. Returns that scale.
template <class Core>
VL8_INLINE F soften(const float* scores, int64_t keys, F best, F log2_scale, float* shift, float* sum_,
                    float* probs) {
  constexpr int kDegree = Core::kExpDegree;
  const F old = load(shift), rise = mul(sub(best, old), log2_scale),
          high = choose(less(rise, all(8.f)), old, best);
  const F keep = exp2<5>(mul(sub(old, high), log2_scale)), minus = sub(zero(), mul(high, log2_scale));
  const F factor = choose(less(rise, all(8.f)), all(1.f), keep);
  F total = mul(load(sum_), factor), other = zero();
  int64_t j = 0;
  for (; j + 2 <= keys; j += 2) {
    F a = exp2<kDegree>(fma(load(scores + j * 16), log2_scale, minus));
    F b = exp2<kDegree>(fma(load(scores + j * 16 + 16), log2_scale, minus));
    total = add(total, a), other = add(other, b);
    Core::store_pair(probs, j, a, b);
  }
  if (j < keys) {
    F a = exp2<kDegree>(fma(load(scores + j * 16), log2_scale, minus));
    total = add(total, a);
    Core::store_pair(probs, j, a, zero());
  }
  store(shift, high), store(sum_, add(total, other));
  return factor;
}

// out = out * keep + values x probabilities, [group][feature][16].
template <class Core>
VL8_INLINE void add_values(const FlashPlan<Core>& p, const char* panel, const char* probs, int groups,
                           int64_t units, const float (*keep)[16], bool first, float* out) {
  const int64_t stride = p.feature_tiles * 256;
  const int64_t tile_bytes = p.key_units / 16 * kTileBytes;
  for (int64_t tile = 0; tile < p.feature_tiles; tile += Core::kTiles) {
    const int tiles = int(min64(Core::kTiles, p.feature_tiles - tile));
    if (first)
      Core::store_sums(panel + tile * tile_bytes, tile_bytes, tiles, probs, p.key_units * 64, groups, units,
                       out + tile * 256, stride);
    else
      Core::add_sums(panel + tile * tile_bytes, tile_bytes, tiles, probs, p.key_units * 64, groups, units,
                     keep, out + tile * 256, stride);
  }
}

template <class Core>
VL8_INLINE void write_rows(const FlashTask& t, const FlashPlan<Core>& p, int64_t g, const float* out,
                           const float* sum_) {
  alignas(64) float tile[16][16];
  const int64_t rows = min64(16, t.row_end - t.row_begin - g * 16);
  for (int64_t f = 0; f < p.feature_tiles; ++f) {
    transpose_tile(out + f * 256, 16, &tile[0][0], 16);
    for (int64_t i = 0; i < rows; ++i) {
      int64_t r = t.row_begin + g * 16 + i;
      float* to = t.out + r / t.group * t.out_token_stride + r % t.group * t.out_head_stride + f * 16;
      F scale = all(1.f / sum_[i]);
      for (int j = 0; j < 16; j += kWidth)
        if (f * 16 + j < t.head_dim)
          store_part(to + j, mul(load(&tile[i][j]), scale), t.head_dim - f * 16 - j);
    }
  }
}

template <class Core>
void flash(const FlashTask& t) {
  const auto p = FlashPlan<Core>::make(t.head_dim);
  char* scratch = (char*)t.scratch;
  const int64_t rows = t.row_end - t.row_begin, groups = ceil_div(rows, 16);
  alignas(64) float shift[kFlashGroups][16], sum_[kFlashGroups][16], limit[kFlashGroups][16],
      keep[Core::kGroups][16];
  for (int64_t g = 0; g < groups; ++g) {
    pack_queries<Core>(t, p, g, limit[g], scratch + p.q);
    for (int i = 0; i < 16; ++i) shift[g][i] = kMasked, sum_[g][i] = 0;
  }
  const int64_t last = t.causal ? min64(t.kv_len, t.first_key + (t.row_end - 1) / t.group + 1) : t.kv_len;
  Core::begin();
  for (int64_t key0 = 0; key0 < last; key0 += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, last - key0);
    const int64_t align = 16 * Core::kPerUnit,
                  units = Core::kUnitAlign > 1 ? ceil_div(keys, align) * 16 : ceil_div(keys, Core::kPerUnit);
    pack_keys<Core>(t, p, key0, keys, scratch + p.keys);
    pack_values<Core>(t, p, key0, keys, scratch + p.values);
    for (int64_t g = 0; g < groups; g += Core::kGroups) {
      const int gn = int(min64(Core::kGroups, groups - g));
      if (float(key0) > limit[g + gn - 1][15]) continue;  // every row of these groups ends before this block
      float* scores = (float*)(scratch + p.scores);
      score_keys<Core>(p, scratch + p.keys, scratch + p.q + g * p.units * 64, gn, keys, scores);
      for (int v = 0; v < gn; ++v) {
        const bool masked = float(key0 + keys - 1) > limit[g + v][0];
        char* probs = scratch + p.probs + v * p.key_units * 64;
        for (int part = 0; part < kParts; ++part) {
          const int at = part * kWidth;
          float* s = scores + v * kKeyBlock * 16 + at;
          const F top = largest_score(s, key0, keys, load(limit[g + v] + at), masked);
          store(keep[v] + at, soften<Core>(s, keys, top, all(t.scale * 1.44269504f), shift[g + v] + at,
                                           sum_[g + v] + at, (float*)probs + at));
        }
        for (int64_t u = ceil_div(keys, Core::kPerUnit); u < units; ++u)
          __builtin_memset(probs + u * 64, 0, 64);
      }
      add_values<Core>(p, scratch + p.values, scratch + p.probs, gn, units, keep, key0 == 0,
                       (float*)(scratch + p.out) + g * p.feature_tiles * 256);
    }
  }
  Core::end();
  for (int64_t g = 0; g < groups; ++g)
    write_rows<Core>(t, p, g, (const float*)(scratch + p.out) + g * p.feature_tiles * 256, sum_[g]);
}

}  // namespace
}  // namespace vl8::cpu

// Attention on tiles. As flash.inl, with the softmax of 32 query rows put behind tile work: while the tile unit
// multiplies values for the rows before and keys for the rows after, the vector units turn the scores of these rows
// into probabilities, a few keys after every tile step. The exponentials take longer than the products (one per
// 4 head_dim FLOP), so what counts is that they never wait.
namespace vl8::cpu {
namespace {

// Scores [group][key][16] of up to two groups on their way to probabilities: first the largest of a group, then the
// exponentials, kKeys keys a call. Same arithmetic as largest_score and soften.
struct AmxSoften {
  static constexpr int64_t kKeys = 16;
  const FlashPlan<AmxCore>* plan;
  float* scores;
  char* probs;
  int64_t key0, keys, units;  // units of probabilities, padding included
  int groups;
  float (*limit)[16];
  float (*shift)[16];
  float (*sums)[16];
  float (*keep)[16];
  float log2_scale;
  int group = 0;
  int64_t at = 0;  // key of the phase
  bool exponentials = false;
  F top, minus, total, other;

  void start(const FlashPlan<AmxCore>& p, float* s, char* to, int64_t first_key, int64_t n, int64_t n_units, int gn,
             float scale) {
    plan = &p, scores = s, probs = to, key0 = first_key, keys = n, units = n_units, groups = gn, log2_scale = scale;
    group = 0, at = 0, exponentials = false, top = all(kMasked);
  }
  bool done() const { return group == groups; }

  __attribute__((noinline)) void advance() {
    if (done()) return;
    const int64_t end = min64(keys, at + kKeys);
    float* s = scores + group * kKeyBlock * 16;
    if (!exponentials) {
      const bool masked = float(key0 + keys - 1) > limit[group][0];
      const F best = largest_score(s + at * 16, key0 + at, end - at, load(limit[group]), masked);
      top = max(top, best);
      if ((at = end) == keys) begin_exponentials();
      return;
    }
    const F scale = all(log2_scale);
    float* to = (float*)(probs + group * plan->key_units * 64);
    for (; at + 2 <= end; at += 2) {
      F a = exp2<AmxCore::kExpDegree>(fma(load(s + at * 16), scale, minus));
      F b = exp2<AmxCore::kExpDegree>(fma(load(s + at * 16 + 16), scale, minus));
      total = add(total, a), other = add(other, b);
      AmxCore::store_pair(to, at, a, b);
    }
    if (at < end) {
      F a = exp2<AmxCore::kExpDegree>(fma(load(s + at * 16), scale, minus));
      total = add(total, a);
      AmxCore::store_pair(to, at, a, zero());
      at = end;
    }
    if (at == keys) end_group();
  }
  void finish() {
    while (!done()) advance();
  }

 private:
  void begin_exponentials() {
    const F scale = all(log2_scale), old = load(shift[group]), rise = mul(sub(top, old), scale);
    const M small = less(rise, all(8.f));
    const F high = choose(small, old, top), factor = choose(small, all(1.f), exp2<5>(mul(sub(old, high), scale)));
    minus = sub(zero(), mul(high, scale));
    total = mul(load(sums[group]), factor), other = zero();
    store(keep[group], factor), store(shift[group], high);
    exponentials = true, at = 0;
  }
  void end_group() {
    store(sums[group], add(total, other));
    char* to = probs + group * plan->key_units * 64;
    for (int64_t u = ceil_div(keys, AmxCore::kPerUnit); u < units; ++u) __builtin_memset(to + u * 64, 0, 64);
    ++group, at = 0, exponentials = false, top = all(kMasked);
  }
};

// Where one pair of groups stands.
struct AmxPair {
  int64_t group;
  int groups;
  float* scores;
  char* probs;
  float keep[2][16];
};

static void amx_flash(const FlashTask& t) {
  const auto p = FlashPlan<AmxCore>::make(t.head_dim);
  char* scratch = (char*)t.scratch;
  const int64_t rows = t.row_end - t.row_begin, groups = ceil_div(rows, 16);
  alignas(64) float shift[kFlashGroups][16], sums[kFlashGroups][16], limit[kFlashGroups][16];
  for (int64_t g = 0; g < groups; ++g) {
    pack_queries<AmxCore>(t, p, g, limit[g], scratch + p.q);
    for (int i = 0; i < 16; ++i) shift[g][i] = kMasked, sums[g][i] = 0;
  }
  const int64_t last = t.causal ? min64(t.kv_len, t.first_key + (t.row_end - 1) / t.group + 1) : t.kv_len;
  const int64_t key_tile_bytes = ceil_div(p.units, 16) * kTileBytes, value_tile_bytes = p.key_units / 16 * kTileBytes;
  alignas(64) AmxPair pairs[2];
  for (int i = 0; i < 2; ++i) {
    pairs[i].scores = (float*)(scratch + p.scores) + i * 2 * kKeyBlock * 16;
    pairs[i].probs = scratch + p.probs + i * 2 * p.key_units * 64;
  }
  AmxSoften soften;
  soften.group = soften.groups = 0;
  const auto work = [&]() __attribute__((always_inline)) { soften.advance(), soften.advance(); };
  tiles_begin();
  for (int64_t key0 = 0; key0 < last; key0 += kKeyBlock) {
    const int64_t keys = min64(kKeyBlock, last - key0), units = ceil_div(keys, 32) * 16;
    pack_keys<AmxCore>(t, p, key0, keys, scratch + p.keys);
    pack_values<AmxCore>(t, p, key0, keys, scratch + p.values);
    const auto score = [&](AmxPair& a, int64_t g) {
      a.group = g, a.groups = int(min64(2, groups - g));
      for (int64_t tile = 0, tiles = ceil_div(keys, 16); tile < tiles; tile += 2)
        AmxCore::store_sums(scratch + p.keys + tile * key_tile_bytes, key_tile_bytes, int(min64(2, tiles - tile)),
                            scratch + p.q + g * p.units * 64, p.units * 64, a.groups, p.units, a.scores + tile * 256,
                            kKeyBlock * 16, work);
    };
    const auto add_values = [&](const AmxPair& a) {
      float* out = (float*)(scratch + p.out) + a.group * p.feature_tiles * 256;
      for (int64_t tile = 0; tile < p.feature_tiles; tile += 2) {
        const char* panel = scratch + p.values + tile * value_tile_bytes;
        const int tiles = int(min64(2, p.feature_tiles - tile));
        if (key0 == 0)
          AmxCore::store_sums(panel, value_tile_bytes, tiles, a.probs, p.key_units * 64, a.groups, units, out + tile * 256,
                              p.feature_tiles * 256, work);
        else
          AmxCore::add_sums(panel, value_tile_bytes, tiles, a.probs, p.key_units * 64, a.groups, units, a.keep,
                            out + tile * 256, p.feature_tiles * 256, work);
      }
    };
    int64_t g = 0;  // the first pair with a row that sees a key of this block
    while (g + 2 < groups && float(key0) > limit[g + 1][15]) g += 2;
    score(pairs[0], g);
    for (int turn = 0;; turn ^= 1) {
      AmxPair &now = pairs[turn], &other = pairs[turn ^ 1];
      const int64_t at = now.group;
      soften.limit = limit + at, soften.shift = shift + at, soften.sums = sums + at, soften.keep = now.keep;
      soften.start(p, now.scores, now.probs, key0, keys, units, now.groups, t.scale * 1.44269504f);
      if (at > g) add_values(other);
      if (at + 2 < groups) score(other, at + 2);
      soften.finish();
      if (at + 2 >= groups) {
        add_values(now);
        break;
      }
    }
  }
  tiles_end();
  for (int64_t g = 0; g < groups; ++g)
    write_rows<AmxCore>(t, p, g, (const float*)(scratch + p.out) + g * p.feature_tiles * 256, sums[g]);
}

}  // namespace
}  // namespace vl8::cpu

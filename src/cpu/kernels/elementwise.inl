// Row and element kernels of the two towers. n is any length; a row is one call.
namespace vl8::cpu {
namespace {

// Sum of term(i), i = 0..n, in one order for every instruction set: 32 running sums (element i goes to sum i mod 32),
// folded every 16 steps into sums of sums as in a cascade, then 4 x 8 to 8, then one by one. That is the order in which
// PyTorch adds a contiguous row of fewer than 2^24 elements on an AVX2 machine (ATen, SumKernel.cpp).
// term(i, left) gives the vector from i on; what it holds from `left` on does not matter.
template <class Term>
VL8_INLINE float ordered_sum(int64_t n, Term&& term) {
  constexpr int V = 32 / kWidth, kLevels = 4;
  const int64_t blocks = n / 32;
  F level[kLevels][V];
  for (int l = 0; l < kLevels; ++l)
    for (int v = 0; v < V; ++v) level[l][v] = zero();
  for (int64_t i = 0; i < blocks;) {
    for (int v = 0; v < V; ++v) level[0][v] = add(level[0][v], term(i * 32 + v * kWidth, kWidth));
    if (++i & 15) continue;
    for (int l = 1; l < kLevels; ++l) {
      for (int v = 0; v < V; ++v) level[l][v] = add(level[l][v], level[l - 1][v]), level[l - 1][v] = zero();
      if (i & (int64_t(15) << l * 4)) break;
    }
  }
  for (int l = 1; l < kLevels; ++l)
    for (int v = 0; v < V; ++v) level[0][v] = add(level[0][v], level[l][v]);
  alignas(64) float part[32], rest[16];
  for (int v = 0; v < V; ++v) store(part + v * kWidth, level[0][v]);
  int64_t i = blocks * 32;
  for (; i + 8 <= n; i += 8) {
    store(rest, term(i, 8));
    for (int j = 0; j < 8; ++j) part[j] += rest[j];
  }
  for (int j = 8; j < 32; ++j) part[j % 8] += part[j];
  float total = 0;
  if (i < n) {
    store(rest, term(i, n - i));
    for (int64_t j = 0; j < n - i; ++j) total += rest[j];
  }
  for (int j = 0; j < 8; ++j) total += part[j];
  return total;
}

VL8_INLINE float square_sum(const float* x, int64_t n) {
  return ordered_sum(n, [x](int64_t i, int64_t left) __attribute__((always_inline)) {
    const F v = left >= kWidth ? load(x + i) : load_part(x + i, left);
    return mul(v, v);
  });
}
VL8_INLINE float root_mean_factor(float squares, int64_t n, float eps) {
  return 1.f / __builtin_sqrtf(squares / float(n) + eps);
}

static void rms_norm(const float* x, const float* delta, const float* weight, float eps, int64_t n,
                     float* sum_, float* y) {
  if (delta)
    for (int64_t i = 0; i < n; i += kWidth)
      store_part(sum_ + i, add(load_part(x + i, n - i), load_part(delta + i, n - i)), n - i);
  const float* from = delta ? sum_ : x;
  const F factor = all(root_mean_factor(square_sum(from, n), n, eps));
  for (int64_t i = 0; i < n; i += kWidth)
    store_part(y + i, mul(load_part(weight + i, n - i), mul(load_part(from + i, n - i), factor)), n - i);
}

static void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                       float* y) {
  const float mean = ordered_sum(n, [x](int64_t i, int64_t left) __attribute__((always_inline)) {
                       return left >= kWidth ? load(x + i) : load_part(x + i, left);
                     }) / float(n);
  const F m = all(mean);
  const float squares = ordered_sum(n, [x, m](int64_t i, int64_t left) __attribute__((always_inline)) {
    const F d = sub(left >= kWidth ? load(x + i) : load_part(x + i, left), m);
    return mul(d, d);
  });
  const F factor = all(root_mean_factor(squares, n, eps));
  for (int64_t i = 0; i < n; i += kWidth) {
    F d = mul(sub(load_part(x + i, n - i), m), factor);
    store_part(y + i, fma(d, load_part(weight + i, n - i), load_part(bias + i, n - i)), n - i);
  }
}

// Mean and sum of squared deviations of a set of numbers, for eight sets side by side (Welford 1962; joining two sets:
// Chan, Golub and LeVeque 1979).
struct Moments {
  float count, mean[8], squares[8];
};
VL8_INLINE void join(Moments& a, const Moments& b) {
  const float n = a.count + b.count, share = n == 0 ? 0 : b.count / n;
  for (int i = 0; i < 8; ++i) {
    const float d = b.mean[i] - a.mean[i];
    a.mean[i] = __builtin_fmaf(share, d, a.mean[i]);
    a.squares[i] += __builtin_fmaf(d * d * share, a.count, b.squares[i]);
  }
  a.count = n;
}

// The layer norm of exact precisions, in the order of ATen's kernel for 8 lanes with fused multiply-adds
// (moments_utils.h): chunks of 16 vectors, joined in a binary cascade, then lane by lane.
static void exact_layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
  constexpr int kDepth = 24;
  const int64_t vectors = n / 8, chunks = ceil_div(vectors, 16);
  Moments level[kDepth];
  int depth = 0;
  while ((int64_t(1) << depth) < chunks) ++depth;
  for (int i = 0; i <= depth; ++i) level[i] = Moments{};
  for (int64_t c = 0; c < chunks; ++c) {
    Moments m{};
    for (int64_t j = 0; j < min64(16, vectors - c * 16); ++j) {
      m.count += 1;
      const float share = 1.f / m.count, *from = x + (c * 16 + j) * 8;
      for (int i = 0; i < 8; ++i) {
        const float d = from[i] - m.mean[i];
        m.mean[i] = __builtin_fmaf(d, share, m.mean[i]);
        m.squares[i] = __builtin_fmaf(d, from[i] - m.mean[i], m.squares[i]);
      }
    }
    join(level[0], m);
    int64_t mask = c + 1;
    for (int i = 1; i < depth && (mask & 1) == 0; ++i, mask >>= 1) {
      join(level[i], level[i - 1]);
      level[i - 1] = Moments{};
    }
  }
  for (int i = 1; i < depth; ++i) join(level[0], level[i]);
  float count = 0, mean = 0, squares = 0;
  for (int64_t i = vectors * 8; i < n; ++i) {
    const float d = x[i] - mean;
    count += 1, mean += d / count;
    squares = __builtin_fmaf(d, x[i] - mean, squares);
  }
  for (int i = 0; i < 8 && vectors > 0; ++i) {
    const float all_count = count + level[0].count, share = level[0].count / all_count, d = level[0].mean[i] - mean;
    mean = __builtin_fmaf(share, d, mean);
    squares += __builtin_fmaf(d * d * share, count, level[0].squares[i]);
    count = all_count;
  }
  const F m = all(mean), factor = all(root_mean_factor(squares, n, eps));
  for (int64_t i = 0; i < n; i += kWidth) {
    const F d = mul(sub(load_part(x + i, n - i), m), factor);
    store_part(y + i, fma(d, load_part(weight + i, n - i), load_part(bias + i, n - i)), n - i);
  }
}

static void norm_rope(const float* x, const float* weight, float eps, const float* cos, const float* sin,
                      int64_t n, float* y) {
  const int64_t half = n / 2;
  const F f = all(weight ? root_mean_factor(square_sum(x, n), n, eps) : 1.f);
  for (int64_t i = 0; i < half; i += kWidth) {
    F a = load_part(x + i, half - i), b = load_part(x + half + i, half - i);
    if (weight) {
      a = mul(load_part(weight + i, half - i), mul(a, f));
      b = mul(load_part(weight + half + i, half - i), mul(b, f));
    }
    F c = load_part(cos + i, half - i), s = load_part(sin + i, half - i);
    store_part(y + i, sub(mul(a, c), mul(b, s)), half - i);
    store_part(y + half + i, add(mul(b, c), mul(a, s)), half - i);
  }
}

static void silu_mul(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kWidth)
    store_part(y + i, mul(silu(load_part(gate + i, n - i)), load_part(up + i, n - i)), n - i);
}

static void add_rows(const float* x, const float* y, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kWidth)
    store_part(out + i, add(load_part(x + i, n - i), load_part(y + i, n - i)), n - i);
}

static void axpy(float a, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kWidth)
    store_part(y + i, fma(all(a), load_part(x + i, n - i), load_part(y + i, n - i)), n - i);
}

static void to_bf16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store_bf16(y + i, load(x + i));
  if (i < n) store_bf16_part(y + i, load_part(x + i, n - i), n - i);
}

template <Number N>
VL8_INLINE void widen(const void* x, float scale, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kWidth) {
    F v = n - i >= kWidth ? load_number<N>(x, i) : load_number_part<N>(x, i, n - i);
    store_part(y + i, mul(v, all(scale)), n - i);
  }
}
static void to_f32(const void* x, Number type, float scale, int64_t n, float* y) {
  switch (type) {
    case Number::f32:
      return widen<Number::f32>(x, scale, n, y);
    case Number::f16:
      return widen<Number::f16>(x, scale, n, y);
    case Number::bf16:
      return widen<Number::bf16>(x, scale, n, y);
    case Number::e4m3:
      return widen<Number::e4m3>(x, scale, n, y);
    case Number::e5m2:
      return widen<Number::e5m2>(x, scale, n, y);
    case Number::i8:
      return widen<Number::i8>(x, scale, n, y);
    case Number::i4:
      return widen<Number::i4>(x, scale, n, y);
    case Number::e2m1:
      return widen<Number::e2m1>(x, scale, n, y);
  }
}

// --- for the ceilings of ceiling.h
static int64_t read_bytes(const void* data, int64_t bytes) {
  const char* p = (const char*)data;
  const int64_t run = bytes / 256 * 64;  // four streams
  F s[4] = {zero(), zero(), zero(), zero()};
  for (int64_t i = 0; i < run; i += 64)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      __builtin_prefetch(p + k * run + i + 1024);
      for (int j = 0; j < 16; j += kWidth) s[k] = max(s[k], load((const float*)(p + k * run + i) + j));
    }
  return sum(add(add(s[0], s[1]), add(s[2], s[3]))) == 12345.f ? 1 : 0;
}
template <class Op>
double peak_flop(int64_t rounds) {
  constexpr int kSums = kWide ? 24 : 12;  // enough to cover the latency, few enough for the registers
  F acc[kSums], a = all(1.f), b = all(0.f);
  VL8_OPAQUE(a);
  VL8_OPAQUE(b);
#pragma GCC unroll 24
  for (int i = 0; i < kSums; ++i) acc[i] = zero();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) acc[i] = Op::mac(acc[i], a, b);
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) VL8_OPAQUE(acc[i]);
  }
  return double(rounds) * kSums * kWidth * 2 * Op::kPerLane;
}

}  // namespace
}  // namespace vl8::cpu

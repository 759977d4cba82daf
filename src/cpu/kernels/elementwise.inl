// Row and element kernels of the two towers. n is any length; a row is one call.
namespace vl8::cpu {
namespace {

VL8_INLINE float root_mean_factor(float squares, int64_t n, float eps) {
  return 1.f / __builtin_sqrtf(squares / float(n) + eps);
}

static void rms_norm(const float* x, const float* delta, const float* weight, float eps, int64_t n,
                     float* sum_, float* y) {
  F squares = zero();
  for (int64_t i = 0; i < n; i += kWidth) {
    F v = load_part(x + i, n - i);
    if (delta) {
      v = add(v, load_part(delta + i, n - i));
      store_part(sum_ + i, v, n - i);
    }
    squares = fma(v, v, squares);
  }
  const F factor = all(root_mean_factor(sum(squares), n, eps));
  const float* from = delta ? sum_ : x;
  for (int64_t i = 0; i < n; i += kWidth)
    store_part(y + i, mul(load_part(weight + i, n - i), mul(load_part(from + i, n - i), factor)), n - i);
}

static void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                       float* y) {
  F total = zero(), squares = zero();
  for (int64_t i = 0; i < n; i += kWidth) total = add(total, load_part(x + i, n - i));
  const float mean = sum(total) / float(n);
  for (int64_t i = 0; i < n; i += kWidth) {  // lanes beyond n must not count as -mean
    alignas(64) float lanes[16];
    F d = sub(load_part(x + i, n - i), all(mean));
    if (n - i < kWidth) {
      store(lanes, d);
      d = load_part(lanes, n - i);
    }
    squares = fma(d, d, squares);
  }
  const F factor = all(root_mean_factor(sum(squares), n, eps));
  for (int64_t i = 0; i < n; i += kWidth) {
    F d = mul(sub(load_part(x + i, n - i), all(mean)), factor);
    store_part(y + i, fma(d, load_part(weight + i, n - i), load_part(bias + i, n - i)), n - i);
  }
}

static void norm_rope(const float* x, const float* weight, float eps, const float* cos, const float* sin,
                      int64_t n, float* y) {
  const int64_t half = n / 2;
  float factor = 1.f;
  if (weight) {
    F squares = zero();
    for (int64_t i = 0; i < n; i += kWidth) {
      F v = load_part(x + i, n - i);
      squares = fma(v, v, squares);
    }
    factor = root_mean_factor(sum(squares), n, eps);
  }
  const F f = all(factor);
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

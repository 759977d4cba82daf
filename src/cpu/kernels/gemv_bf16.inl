// Matrix times 1..8 tokens with bf16 products (VDPBF16PS): weights are decoded to bf16 pairs in registers.
// For e4m3 the tokens are stored in the order in which unpacking leaves the weights (e4m3_to_bf16), which
// saves a permutation of every 64 weights; four-bit weights have an order of their own (narrow_dot.inl).
namespace vl8::cpu {
namespace {

constexpr int64_t kGemvBf16Block = 128;

static void gemv_bf16_pack(const GemvPack& p) {
  for (int64_t i = 0; i < p.k; i += 64) {
    char* out = (char*)p.out + (i / 64 * p.tokens + p.token) * kGemvBf16Block;
    __m512i a = load_bf16_units<Number::f32>(p.x, i, p.k - i),
            b = load_bf16_units<Number::f32>(p.x, i + 32, p.k - i - 32);
    if (p.type == Number::e4m3) {  // 8 words of every 16 to the first vector, the others to the second
      const __m512i even = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13),
                    odd = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
      __m512i c = _mm512_permutex2var_epi64(a, even, b);
      b = _mm512_permutex2var_epi64(a, odd, b), a = c;
    }
    if (p.type == Number::i4 || p.type == Number::e2m1) order_for_four_bits(&a, &b);
    _mm512_storeu_si512(out, a);
    _mm512_storeu_si512(out + 64, b);
  }
}

// 64 weights as two vectors of bf16, in the order of gemv_bf16_pack. n: how many there are.
template <Number N>
VL8_INLINE void load_64_bf16(const void* data, int64_t at, int64_t n, __m512i* a, __m512i* b) {
  if constexpr (N == Number::e4m3) {
    const uint8_t* p = (const uint8_t*)data + at;
    e4m3_to_bf16(n >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(first_bytes(n), p), a, b);
  } else if constexpr (four_bits<N>()) {
    load_64_four_bits<N>(data, at, n, a, b);
  } else if constexpr (N == Number::bf16) {
    const uint16_t* p = (const uint16_t*)data + at;
    *a = n >= 32 ? _mm512_loadu_si512(p) : load_bf16_units<N>(data, at, n);
    *b = n >= 64 ? _mm512_loadu_si512(p + 32) : load_bf16_units<N>(data, at + 32, n - 32);
  } else {
    *a = load_bf16_units<N>(data, at, n);
    *b = load_bf16_units<N>(data, at + 32, n - 32);
  }
}

template <Number N, int T>
struct DotRow {
  static constexpr Number kNumber = N;
  static constexpr int kTokens = T;
  static constexpr float kScale = 1.f;
  F even[T], odd[T];  // two sums a token: one chain of products would wait for the latency of each
  Spoiled spoiled;    // stays as it is: the decoder of e4m3 makes NaN itself

  __attribute__((always_inline)) void clear() {
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) even[i] = zero(), odd[i] = zero();
  }
  __attribute__((always_inline)) F value(int i) const { return add(even[i], odd[i]); }
  __attribute__((always_inline)) void add_n(const GemvTask& t, int64_t at, int64_t k, int64_t n) {
    const char* x = (const char*)t.x + k * 2 * T;
    __m512i a, b;
    load_64_bf16<N>(t.w.data, at, n, &a, &b);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      const char* xi = x + i * kGemvBf16Block;
      even[i] = _mm512_dpbf16_ps(even[i], (__m512bh)a, (__m512bh)_mm512_loadu_si512(xi));
      odd[i] = _mm512_dpbf16_ps(odd[i], (__m512bh)b, (__m512bh)_mm512_loadu_si512(xi + 64));
    }
  }
  __attribute__((always_inline)) void add_64(const GemvTask& t, int64_t at, int64_t k) {
    add_n(t, at, k, 64);
  }
  void add_rest(const GemvTask& t, int64_t at, int64_t k, int64_t n) { add_n(t, at, k, n); }
};

}  // namespace
}  // namespace vl8::cpu

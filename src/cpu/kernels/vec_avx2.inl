// Vectors of 8 floats on AVX2 with FMA and F16C. Same names as the other vec_*.inl; see vec_plain.inl for
// meaning.
#include <immintrin.h>

// Hides a value from the optimiser (peak measurements).
#define VL8_OPAQUE(x) __asm__ volatile("" : "+x"(x))
#define VL8_INLINE static inline __attribute__((always_inline))

namespace vl8::cpu {
namespace {

constexpr bool kWide = false;  // 32 vector registers of 16 floats
constexpr int kWidth = 8;
typedef __m256 F;
typedef __m256 M;

VL8_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VL8_INLINE F zero() {
  return _mm256_setzero_ps();
}
VL8_INLINE F all(float x) {
  return _mm256_set1_ps(x);
}
VL8_INLINE F load(const float* p) {
  return _mm256_loadu_ps(p);
}
VL8_INLINE F load_part(const float* p, int64_t n) {
  return _mm256_maskload_ps(p, first_lanes(n));
}
VL8_INLINE void store(float* p, F x) {
  _mm256_storeu_ps(p, x);
}
VL8_INLINE void store_part(float* p, F x, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), x);
}
VL8_INLINE F add(F a, F b) {
  return _mm256_add_ps(a, b);
}
VL8_INLINE F sub(F a, F b) {
  return _mm256_sub_ps(a, b);
}
VL8_INLINE F mul(F a, F b) {
  return _mm256_mul_ps(a, b);
}
VL8_INLINE F div(F a, F b) {
  return _mm256_div_ps(a, b);
}
VL8_INLINE F fma(F a, F b, F c) {
  return _mm256_fmadd_ps(a, b, c);
}
VL8_INLINE F max(F a, F b) {
  return _mm256_max_ps(a, b);
}
VL8_INLINE F min(F a, F b) {
  return _mm256_min_ps(a, b);
}
VL8_INLINE F square_root(F a) {
  return _mm256_sqrt_ps(a);
}
VL8_INLINE float sum(F a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VL8_INLINE M less(F a, F b) {
  return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
VL8_INLINE F choose(M m, F yes, F no) {
  return _mm256_blendv_ps(no, yes, m);
}
VL8_INLINE F copy_sign(F a, F sign) {
  F bit = _mm256_set1_ps(-0.f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}
VL8_INLINE F magnitude(F a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a);
}
// In two steps, so that a result below the smallest normal number is reached without a false exponent.
VL8_INLINE F scale_by_power(F a, F n) {
  __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
  __m256i bias = _mm256_set1_epi32(127);
  a = _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
// x - floor(x), and p * 2^floor(x); below -200 as at -200, where the result is 0 anyway.
VL8_INLINE F floor_above(F x) {
  return _mm256_floor_ps(_mm256_max_ps(_mm256_set1_ps(-200.f), x));
}
VL8_INLINE F fraction(F x) {
  return _mm256_sub_ps(_mm256_max_ps(_mm256_set1_ps(-200.f), x), floor_above(x));
}
VL8_INLINE F scale_by_floor(F p, F x) {
  return scale_by_power(p, floor_above(x));
}
VL8_INLINE F nearest(F a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VL8_INLINE F broadcast(const void* p) {
  return _mm256_broadcast_ss((const float*)p);
}

VL8_INLINE __m256i bf16_bits(F x) {
  __m256i u = _mm256_castps_si256(x);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  __m256i r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
  return _mm256_blendv_epi8(r, _mm256_set1_epi32(0x7fc0),
                            _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
VL8_INLINE F round_bf16(F x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(bf16_bits(x), 16));
}
VL8_INLINE __m128i narrow(__m256i v) {
  return _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
VL8_INLINE void store_bf16(uint16_t* p, F x) {
  _mm_storeu_si128((__m128i*)p, narrow(bf16_bits(x)));
}
VL8_INLINE void store_bf16_part(uint16_t* p, F x, int64_t n) {
  alignas(16) uint16_t t[8];
  _mm_store_si128((__m128i*)t, narrow(bf16_bits(x)));
  for (int i = 0; i < n && i < 8; ++i) p[i] = t[i];
}
VL8_INLINE F from_bf16(__m128i h) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
// e4m3 << 7 is the f16 of value / 256, subnormals included; the NaN code becomes an f16 NaN.
VL8_INLINE F from_e4m3(__m128i q) {
  __m128i w = _mm_and_si128(_mm_slli_epi16(_mm_cvtepi8_epi16(q), 7), _mm_set1_epi16(int16_t(0xbfff)));
  __m128i nan = _mm_cmpeq_epi16(_mm_and_si128(w, _mm_set1_epi16(0x7fff)), _mm_set1_epi16(0x3f80));
  w = _mm_or_si128(w, _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
  return _mm256_mul_ps(_mm256_cvtph_ps(w), _mm256_set1_ps(256.f));
}
VL8_INLINE F from_e5m2(__m128i q) {
  return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(q), 8));
}

}  // namespace
}  // namespace vl8::cpu
// clang-format off: uses the names above, and the names below use it
#include "cpu/kernels/narrow_avx2.inl"
// clang-format on
namespace vl8::cpu {
namespace {

template <Number N>
VL8_INLINE F load_number(const void* data, int64_t i) {
  if constexpr (N == Number::f32) return load((const float*)data + i);
  if constexpr (N == Number::f16)
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)((const uint16_t*)data + i)));
  if constexpr (N == Number::bf16)
    return from_bf16(_mm_loadu_si128((const __m128i*)((const uint16_t*)data + i)));
  if constexpr (N == Number::e4m3)
    return from_e4m3(_mm_loadl_epi64((const __m128i*)((const uint8_t*)data + i)));
  if constexpr (N == Number::e5m2)
    return from_e5m2(_mm_loadl_epi64((const __m128i*)((const uint8_t*)data + i)));
  if constexpr (N >= Number::i8) return load_narrow<N>(data, i);
}
template <Number N>
VL8_INLINE F load_number_part(const void* data, int64_t i, int64_t n) {
  if constexpr (N == Number::f32) return load_part((const float*)data + i, n);
  if constexpr (N >= Number::i8) return load_narrow_part<N>(data, i, n);
  constexpr int bytes = N == Number::f16 || N == Number::bf16 ? 2 : 1;
  alignas(16) uint8_t t[16] = {};
  for (int b = 0; b < n * bytes && b < 8 * bytes; ++b) t[b] = ((const uint8_t*)data)[i * bytes + b];
  return load_number<N>(t, 0);
}

// 64 consecutive e4m3 as value / 256, codes of NaN as 480 / 256: Spoiled finds those.
VL8_INLINE void load_64_e4m3(const uint8_t* p, F (&w)[8]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    __m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p + i)), 7);
    h = _mm256_and_si256(h, _mm256_set1_epi16(int16_t(0xbfff)));
    w[2 * i] = _mm256_cvtph_ps(_mm256_castsi256_si128(h));
    w[2 * i + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1));
  }
}
// Remembers whether any of the codes it saw was NaN: the largest code without its sign tells.
struct Spoiled {
  __m256i top;
  VL8_INLINE Spoiled none() { return {_mm256_setzero_si256()}; }
  __attribute__((always_inline)) void see_64(const uint8_t* p) {
    __m256i a = _mm256_loadu_si256((const __m256i*)p), b = _mm256_loadu_si256((const __m256i*)p + 1);
    top = _mm256_max_epu8(top, _mm256_max_epu8(_mm256_add_epi8(a, a), _mm256_add_epi8(b, b)));
  }
  __attribute__((always_inline)) bool any() const {
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(top, _mm256_set1_epi8(char(0xfe)))) != 0;
  }
};

struct G {
  F v[2];
};
VL8_INLINE G load_group(const void* p) {
  return {{load((const float*)p), load((const float*)p + 8)}};
}
VL8_INLINE void store_group(void* p, G g) {
  store((float*)p, g.v[0]), store((float*)p + 8, g.v[1]);
}

VL8_INLINE void transpose_8x8(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = load(in + i * in_stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    store(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
VL8_INLINE void transpose_tile(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 16; j += 8)
      transpose_8x8(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
}

}  // namespace
}  // namespace vl8::cpu

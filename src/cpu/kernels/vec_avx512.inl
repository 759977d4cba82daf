// Vectors of 16 floats on AVX-512 (F, BW, DQ, VL). Same names as the other vec_*.inl; see vec_plain.inl for
// meaning.
#include <immintrin.h>

// Hides a value from the optimiser (peak measurements).
#define VL8_OPAQUE(x) __asm__ volatile("" : "+v"(x))
#define VL8_INLINE static inline __attribute__((always_inline))

namespace vl8::cpu {
namespace {

constexpr bool kWide = true;  // 32 vector registers of 16 floats
constexpr int kWidth = 16;
typedef __m512 F;
typedef __mmask16 M;

VL8_INLINE M first_lanes(int64_t n) {
  return n >= 16 ? M(0xffff) : M((1u << n) - 1);
}
VL8_INLINE F zero() {
  return _mm512_setzero_ps();
}
VL8_INLINE F all(float x) {
  return _mm512_set1_ps(x);
}
VL8_INLINE F load(const float* p) {
  return _mm512_loadu_ps(p);
}
VL8_INLINE F load_part(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
VL8_INLINE void store(float* p, F x) {
  _mm512_storeu_ps(p, x);
}
VL8_INLINE void store_part(float* p, F x, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), x);
}
VL8_INLINE F add(F a, F b) {
  return _mm512_add_ps(a, b);
}
VL8_INLINE F sub(F a, F b) {
  return _mm512_sub_ps(a, b);
}
VL8_INLINE F mul(F a, F b) {
  return _mm512_mul_ps(a, b);
}
VL8_INLINE F div(F a, F b) {
  return _mm512_div_ps(a, b);
}
VL8_INLINE F fma(F a, F b, F c) {
  return _mm512_fmadd_ps(a, b, c);
}
VL8_INLINE F max(F a, F b) {
  return _mm512_max_ps(a, b);
}
VL8_INLINE F min(F a, F b) {
  return _mm512_min_ps(a, b);
}
VL8_INLINE F square_root(F a) {
  return _mm512_sqrt_ps(a);
}
VL8_INLINE float sum(F a) {
  return _mm512_reduce_add_ps(a);
}
VL8_INLINE M less(F a, F b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
VL8_INLINE F choose(M m, F yes, F no) {
  return _mm512_mask_blend_ps(m, no, yes);
}
VL8_INLINE F copy_sign(F a, F sign) {
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(sign),
                                                       _mm512_set1_epi32(int(0x80000000u)), 0xd8));
}
VL8_INLINE F magnitude(F a) {
  return _mm512_abs_ps(a);
}
// 2^n * a for integral n in -252..127; p in [0.5, 2).
VL8_INLINE F scale_by_power(F a, F n) {
  return _mm512_scalef_ps(a, n);
}
// x - floor(x), and p * 2^floor(x) for any x: two instructions in all.
VL8_INLINE F fraction(F x) {
  return _mm512_reduce_ps(x, 1);
}
VL8_INLINE F scale_by_floor(F p, F x) {
  return _mm512_scalef_ps(p, x);
}
VL8_INLINE F nearest(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VL8_INLINE F broadcast(const void* p) {
  return _mm512_set1_ps(*(const float*)p);
}

// bf16 in the low half of each lane, to nearest even; NaN stays NaN.
VL8_INLINE __m512i bf16_bits(F x) {
  __m512i u = _mm512_castps_si512(x);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  __m512i r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  return _mm512_mask_mov_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
}
VL8_INLINE F round_bf16(F x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(bf16_bits(x), 16));
}
VL8_INLINE void store_bf16(uint16_t* p, F x) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(bf16_bits(x)));
}
VL8_INLINE void store_bf16_part(uint16_t* p, F x, int64_t n) {
  _mm512_mask_cvtepi32_storeu_epi16(p, first_lanes(n), bf16_bits(x));
}
VL8_INLINE F from_bf16(__m256i h) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

// e4m3 << 7 is the f16 of value / 256, subnormals included; only the NaN code needs care.
VL8_INLINE F from_e4m3(__m128i q) {
  __m256i w =
      _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(q), 7), _mm256_set1_epi16(int16_t(0xbfff)));
  __mmask16 nan =
      _mm256_cmpeq_epi16_mask(_mm256_and_si256(w, _mm256_set1_epi16(0x7fff)), _mm256_set1_epi16(0x3f80));
  F x = _mm512_mul_ps(_mm512_cvtph_ps(w), _mm512_set1_ps(256.f));
  return _mm512_mask_mov_ps(x, nan, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
}
VL8_INLINE F from_e5m2(__m128i q) {
  return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(q), 8));
}

}  // namespace
}  // namespace vl8::cpu
// clang-format off: uses the names above, and the names below use it
#include "cpu/kernels/narrow_avx512.inl"
// clang-format on
namespace vl8::cpu {
namespace {

template <Number N>
VL8_INLINE F load_number(const void* data, int64_t i) {
  if constexpr (N == Number::f32) return load((const float*)data + i);
  if constexpr (N == Number::f16)
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)((const uint16_t*)data + i)));
  if constexpr (N == Number::bf16)
    return from_bf16(_mm256_loadu_si256((const __m256i*)((const uint16_t*)data + i)));
  if constexpr (N == Number::e4m3)
    return from_e4m3(_mm_loadu_si128((const __m128i*)((const uint8_t*)data + i)));
  if constexpr (N == Number::e5m2)
    return from_e5m2(_mm_loadu_si128((const __m128i*)((const uint8_t*)data + i)));
  if constexpr (N >= Number::i8) return load_narrow<N>(data, i);
}
template <Number N>
VL8_INLINE F load_number_part(const void* data, int64_t i, int64_t n) {
  M m = first_lanes(n);
  if constexpr (N == Number::f32) return load_part((const float*)data + i, n);
  if constexpr (N == Number::f16)
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, (const uint16_t*)data + i));
  if constexpr (N == Number::bf16) return from_bf16(_mm256_maskz_loadu_epi16(m, (const uint16_t*)data + i));
  if constexpr (N == Number::e4m3) return from_e4m3(_mm_maskz_loadu_epi8(m, (const uint8_t*)data + i));
  if constexpr (N == Number::e5m2) return from_e5m2(_mm_maskz_loadu_epi8(m, (const uint8_t*)data + i));
  if constexpr (N >= Number::i8) return load_narrow_part<N>(data, i, n);
}

// 64 consecutive e4m3 as value / 256, codes of NaN as 480 / 256: Spoiled finds those.
VL8_INLINE void load_64_e4m3(const uint8_t* p, F (&w)[4]) {
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    __m512i h = _mm512_slli_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)p + i)), 7);
    h = _mm512_and_si512(h, _mm512_set1_epi16(int16_t(0xbfff)));
    w[2 * i] = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
    w[2 * i + 1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
  }
}
// Remembers whether any of the codes it saw was NaN: the largest code without its sign tells.
struct Spoiled {
  __m512i top;
  VL8_INLINE Spoiled none() { return {_mm512_setzero_si512()}; }
  __attribute__((always_inline)) void see_64(const uint8_t* p) {
    __m512i q = _mm512_loadu_si512(p);
    top = _mm512_max_epu8(top, _mm512_add_epi8(q, q));
  }
  __attribute__((always_inline)) bool any() const {
    return _mm512_cmpeq_epu8_mask(top, _mm512_set1_epi8(char(0xfe))) != 0;
  }
};

// A group of 16 lanes of 4 bytes, whatever the vector width.
struct G {
  F v[1];
};
VL8_INLINE G load_group(const void* p) {
  return {{_mm512_loadu_ps(p)}};
}
VL8_INLINE void store_group(void* p, G g) {
  _mm512_storeu_ps(p, g.v[0]);
}

// Transposes 16 rows of 16 units in registers.
VL8_INLINE void transpose(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}
// out[j][i] = in[i][j] for a tile of 16 x 16 units; strides in units.
VL8_INLINE void transpose_tile(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  __m512i r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(in + i * in_stride);
  transpose(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(out + i * out_stride, r[i]);
}

}  // namespace
}  // namespace vl8::cpu

// AVX-512 F, BW, VL, DQ. See kernels.h for what each function computes.
#include <immintrin.h>
#include <string.h>

#include "media/kernels.h"

namespace vl8::pixel {
namespace {

// Per row 256 bits: the pairs (r0,r1) (g0,g1) (b0,b1) (0,0) of pixels 0 and 1, then of 2 and 3. Two rows per
// vector.
inline __m512i pick_pairs() {
  return _mm512_broadcast_i64x4(_mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                                 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
}
inline __m512i spread_weights(const int16_t* w) {
  int64_t four;
  memcpy(&four, w, 8);
  const __m256i order = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,  //
                                         4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  return _mm512_shuffle_epi8(_mm512_set1_epi64(four), _mm512_broadcast_i64x4(order));
}
inline __m512i two_rows(const uint8_t* a, const uint8_t* b) {
  const __m256i lower = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
  return _mm512_mask_broadcast_i32x4(_mm512_castsi256_si512(lower), 0xff00,
                                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
}
// Sums of both halves of each row: row a in lanes 0..3, row b in lanes 4..7.
inline __m256i fold(__m512i v) {
  const __m512i swapped = _mm512_shuffle_i32x4(v, v, 0xb1);
  const __m512i sum = _mm512_add_epi32(v, swapped);
  return _mm512_castsi512_si256(_mm512_shuffle_i32x4(sum, sum, 0x08));
}

template <bool kSplit>
inline void horizontal_rows(const uint8_t* const* in, uint8_t* const* out, const Axis* axis) {
  const __m512i pick = pick_pairs();
  const __m256i round = _mm256_set1_epi32(1 << (axis->shift - 1));
  const __m128i shift = _mm_cvtsi32_si128(axis->shift);
  for (int i = 0; i < axis->out; ++i) {
    const int16_t* high = axis->high + int64_t(i) * axis->taps;
    const int16_t* low = kSplit ? axis->low + int64_t(i) * axis->taps : nullptr;
    __m512i sum[2], rest[2];
    for (int r = 0; r < 2; ++r) sum[r] = rest[r] = _mm512_setzero_si512();
    for (int k = 0; k < axis->taps; k += 4) {
      const size_t at = size_t(axis->first[i] + k) * 3;
      const __m512i wh = spread_weights(high + k);
      const __m512i wl = kSplit ? spread_weights(low + k) : wh;
      for (int r = 0; r < 2; ++r) {
        const __m512i pairs = _mm512_shuffle_epi8(two_rows(in[2 * r] + at, in[2 * r + 1] + at), pick);
        sum[r] = _mm512_add_epi32(sum[r], _mm512_madd_epi16(pairs, wh));
        if (kSplit) rest[r] = _mm512_add_epi32(rest[r], _mm512_madd_epi16(pairs, wl));
      }
    }
    __m256i v[2];
    for (int r = 0; r < 2; ++r) {
      v[r] = fold(sum[r]);
      if (kSplit) v[r] = _mm256_add_epi32(_mm256_slli_epi32(v[r], kSplitBits), fold(rest[r]));
      v[r] = _mm256_sra_epi32(_mm256_add_epi32(v[r], round), shift);
    }
    // Lanes after packing: rows 0, 2, 0, 2 | 1, 3, 1, 3 as four bytes each.
    const __m256i words = _mm256_packs_epi32(v[0], v[1]);
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i lower = _mm256_castsi256_si128(bytes), upper = _mm256_extracti128_si256(bytes, 1);
    const uint32_t pixel[4] = {uint32_t(_mm_extract_epi32(lower, 0)), uint32_t(_mm_extract_epi32(upper, 0)),
                               uint32_t(_mm_extract_epi32(lower, 1)), uint32_t(_mm_extract_epi32(upper, 1))};
    if (i + 1 < axis->out) {
      for (int r = 0; r < 4; ++r)
        memcpy(out[r] + size_t(i) * 3, &pixel[r], 4);  // the fourth byte is overwritten next
    } else {
      for (int r = 0; r < 4; ++r) memcpy(out[r] + size_t(i) * 3, &pixel[r], 3);
    }
  }
}

void horizontal(const uint8_t* const* in, uint8_t* const* out, const Axis* axis) {
  if (axis->low)
    horizontal_rows<true>(in, out, axis);
  else
    horizontal_rows<false>(in, out, axis);
}

inline __m512i pair_of(const int16_t* w) {
  int32_t two;
  memcpy(&two, w, 4);
  return _mm512_set1_epi32(two);
}

template <bool kSplit>
inline void vertical_block(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps,
                           int shift, int64_t at, uint8_t* out) {
  const __m512i zero = _mm512_setzero_si512();
  __m512i sum[4] = {zero, zero, zero, zero}, rest[4] = {zero, zero, zero, zero};
  for (int k = 0; k < taps; k += 2) {
    const __m512i a = _mm512_loadu_si512(rows[k] + at), b = _mm512_loadu_si512(rows[k + 1] + at);
    const __m512i lower = _mm512_unpacklo_epi8(a, b), upper = _mm512_unpackhi_epi8(a, b);
    const __m512i pairs[4] = {_mm512_unpacklo_epi8(lower, zero), _mm512_unpackhi_epi8(lower, zero),
                              _mm512_unpacklo_epi8(upper, zero), _mm512_unpackhi_epi8(upper, zero)};
    const __m512i wh = pair_of(high + k), wl = kSplit ? pair_of(low + k) : wh;
    for (int j = 0; j < 4; ++j) {
      sum[j] = _mm512_add_epi32(sum[j], _mm512_madd_epi16(pairs[j], wh));
      if (kSplit) rest[j] = _mm512_add_epi32(rest[j], _mm512_madd_epi16(pairs[j], wl));
    }
  }
  const __m512i round = _mm512_set1_epi32(1 << (shift - 1));
  const __m128i count = _mm_cvtsi32_si128(shift);
  for (int j = 0; j < 4; ++j) {
    if (kSplit) sum[j] = _mm512_add_epi32(_mm512_slli_epi32(sum[j], kSplitBits), rest[j]);
    sum[j] = _mm512_sra_epi32(_mm512_add_epi32(sum[j], round), count);
  }
  _mm512_storeu_si512(
      out + at, _mm512_packus_epi16(_mm512_packs_epi32(sum[0], sum[1]), _mm512_packs_epi32(sum[2], sum[3])));
}

template <bool kSplit>
inline void vertical_row(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps,
                         int shift, int64_t bytes, uint8_t* out) {
  int64_t at = 0;
  for (; at + 64 <= bytes; at += 64) vertical_block<kSplit>(rows, high, low, taps, shift, at, out);
  if (at < bytes) vertical_block<kSplit>(rows, high, low, taps, shift, bytes - 64, out);
}

void vertical(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps, int shift,
              int64_t bytes, uint8_t* out) {
  if (bytes < 64) return kAvx2Kernels.vertical(rows, high, low, taps, shift, bytes, out);
  if (low)
    vertical_row<true>(rows, high, low, taps, shift, bytes, out);
  else
    vertical_row<false>(rows, high, low, taps, shift, bytes, out);
}

// 16 RGB pixels to one vector of bytes per channel.
inline void split_channels(const uint8_t* rgb, __m128i* channel) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 16));
  const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rgb + 32));
  constexpr char n = -1;
  const __m128i order[3][3] = {{_mm_setr_epi8(0, 3, 6, 9, 12, 15, n, n, n, n, n, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, n, 2, 5, 8, 11, 14, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, n, n, n, n, n, n, 1, 4, 7, 10, 13)},
                               {_mm_setr_epi8(1, 4, 7, 10, 13, n, n, n, n, n, n, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, 0, 3, 6, 9, 12, 15, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, n, n, n, n, n, n, 2, 5, 8, 11, 14)},
                               {_mm_setr_epi8(2, 5, 8, 11, 14, n, n, n, n, n, n, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, 1, 4, 7, 10, 13, n, n, n, n, n, n),
                                _mm_setr_epi8(n, n, n, n, n, n, n, n, n, n, 0, 3, 6, 9, 12, 15)}};
  for (int i = 0; i < 3; ++i)
    channel[i] =
        _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, order[i][0]), _mm_shuffle_epi8(b, order[i][1])),
                     _mm_shuffle_epi8(c, order[i][2]));
}

// d/std with the rounding of a division; see kernels_avx2.cpp.
inline __m512 normalize16(__m128i bytes, const Norm* norm, int c) {
  const __m512 std = _mm512_set1_ps(norm->std[c]), inverse = _mm512_set1_ps(norm->inverse[c]);
  const __m512 d =
      _mm512_sub_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), _mm512_set1_ps(norm->mean[c]));
  const __m512 q = _mm512_mul_ps(d, inverse);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, std, d), inverse, q);
}

inline __m256i round_bf16(__m512 f) {
  const __m512i u = _mm512_castps_si512(f);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  return _mm512_cvtepi32_epi16(
      _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16));
}

inline void store(__m512i v, bool stream, void* out) {
  if (stream)
    _mm512_stream_si512(static_cast<__m512i*>(out), v);
  else
    _mm512_store_si512(out, v);
}

void patch_f32(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool stream,
               float* out) {
  for (int y = 0; y < 16; ++y) {
    __m128i channel[3];
    split_channels(rgb + size_t(y) * stride, channel);
    for (int c = 0; c < 3; ++c) {
      const __m512i row = _mm512_castps_si512(normalize16(channel[c], norm, c));
      float* to = out + size_t(c) * plane + size_t(y) * 16;
      for (int copy = 0; copy < copies; ++copy, to += 256) store(row, stream, to);
    }
  }
}

void patch_bf16(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool stream,
                uint16_t* out) {
  for (int y = 0; y < 16; y += 2) {  // two rows fill a cache line
    __m128i upper[3], lower[3];
    split_channels(rgb + size_t(y) * stride, upper);
    split_channels(rgb + size_t(y + 1) * stride, lower);
    for (int c = 0; c < 3; ++c) {
      const __m512i rows =
          _mm512_inserti64x4(_mm512_castsi256_si512(round_bf16(normalize16(upper[c], norm, c))),
                             round_bf16(normalize16(lower[c], norm, c)), 1);
      uint16_t* to = out + size_t(c) * plane + size_t(y) * 16;
      for (int copy = 0; copy < copies; ++copy, to += 256) store(rows, stream, to);
    }
  }
}

void fence() {
  _mm_sfence();
}

}  // namespace

extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = {"avx512", horizontal, vertical, patch_f32, patch_bf16, fence};

}  // namespace vl8::pixel

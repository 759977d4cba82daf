// AVX2 + FMA. See kernels.h for what each function computes.
#include <immintrin.h>
#include <string.h>

#include "media/kernels.h"

namespace vl8::pixel {
namespace {

// From 16 bytes of RGB in both halves: low half the pairs (r0,r1) (g0,g1) (b0,b1) (0,0) as 16-bit words, high
// half the same of pixels 2 and 3. One multiply-add then covers four taps of three channels.
inline __m256i pick_pairs() {
  return _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                          6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
}
// Four weights: (w0,w1) in all of the low half, (w2,w3) in the high half.
inline __m256i spread_weights(const int16_t* w) {
  int64_t four;
  memcpy(&four, w, 8);
  const __m256i order = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,  //
                                         4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  return _mm256_shuffle_epi8(_mm256_set1_epi64x(four), order);
}

inline __m128i fold(__m256i v) {
  return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

template <bool kSplit>
inline void horizontal_rows(const uint8_t* const* in, uint8_t* const* out, const Axis* axis) {
  const __m256i pick = pick_pairs();
  const __m128i round = _mm_set1_epi32(1 << (axis->shift - 1)), shift = _mm_cvtsi32_si128(axis->shift);
  for (int i = 0; i < axis->out; ++i) {
    const int16_t* high = axis->high + int64_t(i) * axis->taps;
    const int16_t* low = kSplit ? axis->low + int64_t(i) * axis->taps : nullptr;
    const size_t at = size_t(axis->first[i]) * 3;
    __m256i sum[4], rest[4];
    for (int r = 0; r < 4; ++r) sum[r] = rest[r] = _mm256_setzero_si256();
    for (int k = 0; k < axis->taps; k += 4) {
      const __m256i wh = spread_weights(high + k);
      const __m256i wl = kSplit ? spread_weights(low + k) : wh;
      for (int r = 0; r < 4; ++r) {
        const __m128i* p = reinterpret_cast<const __m128i*>(in[r] + at + size_t(k) * 3);
        const __m256i pairs = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(p)), pick);
        sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(pairs, wh));
        if (kSplit) rest[r] = _mm256_add_epi32(rest[r], _mm256_madd_epi16(pairs, wl));
      }
    }
    __m128i v[4];
    for (int r = 0; r < 4; ++r) {
      v[r] = fold(sum[r]);
      if (kSplit) v[r] = _mm_add_epi32(_mm_slli_epi32(v[r], kSplitBits), fold(rest[r]));
      v[r] = _mm_sra_epi32(_mm_add_epi32(v[r], round), shift);
    }
    const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(v[0], v[1]), _mm_packs_epi32(v[2], v[3]));
    const uint32_t pixel[4] = {uint32_t(_mm_extract_epi32(bytes, 0)), uint32_t(_mm_extract_epi32(bytes, 1)),
                               uint32_t(_mm_extract_epi32(bytes, 2)), uint32_t(_mm_extract_epi32(bytes, 3))};
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

inline __m256i pair_of(const int16_t* w) {
  int32_t two;
  memcpy(&two, w, 4);
  return _mm256_set1_epi32(two);
}

template <bool kSplit>
inline void vertical_block(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps,
                           int shift, int64_t at, uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i sum[4] = {zero, zero, zero, zero}, rest[4] = {zero, zero, zero, zero};
  for (int k = 0; k < taps; k += 2) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[k] + at));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[k + 1] + at));
    const __m256i lower = _mm256_unpacklo_epi8(a, b), upper = _mm256_unpackhi_epi8(a, b);
    const __m256i pairs[4] = {_mm256_unpacklo_epi8(lower, zero), _mm256_unpackhi_epi8(lower, zero),
                              _mm256_unpacklo_epi8(upper, zero), _mm256_unpackhi_epi8(upper, zero)};
    const __m256i wh = pair_of(high + k), wl = kSplit ? pair_of(low + k) : wh;
    for (int j = 0; j < 4; ++j) {
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(pairs[j], wh));
      if (kSplit) rest[j] = _mm256_add_epi32(rest[j], _mm256_madd_epi16(pairs[j], wl));
    }
  }
  const __m256i round = _mm256_set1_epi32(1 << (shift - 1));
  const __m128i count = _mm_cvtsi32_si128(shift);
  for (int j = 0; j < 4; ++j) {
    if (kSplit) sum[j] = _mm256_add_epi32(_mm256_slli_epi32(sum[j], kSplitBits), rest[j]);
    sum[j] = _mm256_sra_epi32(_mm256_add_epi32(sum[j], round), count);
  }
  const __m256i bytes =
      _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), bytes);
}

template <bool kSplit>
inline void vertical_row(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps,
                         int shift, int64_t bytes, uint8_t* out) {
  int64_t at = 0;
  for (; at + 32 <= bytes; at += 32) vertical_block<kSplit>(rows, high, low, taps, shift, at, out);
  if (at < bytes) vertical_block<kSplit>(rows, high, low, taps, shift, bytes - 32, out);
}

void vertical(const uint8_t* const* rows, const int16_t* high, const int16_t* low, int taps, int shift,
              int64_t bytes, uint8_t* out) {
  if (bytes < 32) return kScalarKernels.vertical(rows, high, low, taps, shift, bytes, out);
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

// d/std with the rounding of a division: d * (1/std), corrected by its exact remainder (proved for all 256
// bytes when the Norm is made).
inline __m256 normalize8(__m128i bytes, const Norm* norm, int c) {
  const __m256 std = _mm256_set1_ps(norm->std[c]), inverse = _mm256_set1_ps(norm->inverse[c]);
  const __m256 d =
      _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(norm->mean[c]));
  const __m256 q = _mm256_mul_ps(d, inverse);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(q, std, d), inverse, q);
}

inline __m256i round_bf16(__m256 f) {  // in the low half of each 32-bit lane
  const __m256i u = _mm256_castps_si256(f);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
}

inline void store(__m256i v, bool stream, void* out) {
  if (stream)
    _mm256_stream_si256(static_cast<__m256i*>(out), v);
  else
    _mm256_store_si256(static_cast<__m256i*>(out), v);
}

void patch_f32(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool stream,
               float* out) {
  for (int y = 0; y < 16; ++y) {
    __m128i channel[3];
    split_channels(rgb + size_t(y) * stride, channel);
    for (int c = 0; c < 3; ++c) {
      const __m256i a = _mm256_castps_si256(normalize8(channel[c], norm, c));
      const __m256i b = _mm256_castps_si256(normalize8(_mm_srli_si128(channel[c], 8), norm, c));
      float* to = out + size_t(c) * plane + size_t(y) * 16;
      for (int copy = 0; copy < copies; ++copy, to += 256) store(a, stream, to), store(b, stream, to + 8);
    }
  }
}

void patch_bf16(const uint8_t* rgb, size_t stride, const Norm* norm, size_t plane, int copies, bool stream,
                uint16_t* out) {
  for (int y = 0; y < 16; ++y) {
    __m128i channel[3];
    split_channels(rgb + size_t(y) * stride, channel);
    for (int c = 0; c < 3; ++c) {
      const __m256i a = round_bf16(normalize8(channel[c], norm, c));
      const __m256i b = round_bf16(normalize8(_mm_srli_si128(channel[c], 8), norm, c));
      const __m256i row = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
      uint16_t* to = out + size_t(c) * plane + size_t(y) * 16;
      for (int copy = 0; copy < copies; ++copy, to += 256) store(row, stream, to);
    }
  }
}

void fence() {
  _mm_sfence();
}

}  // namespace

extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = {"avx2", horizontal, vertical, patch_f32, patch_bf16, fence};

}  // namespace vl8::pixel

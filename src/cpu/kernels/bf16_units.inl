// The shared layouts with bf16 units (pairs along K), for AVX-512 BF16 and AMX. Needs AVX512_BF16 and GFNI.
namespace vl8::cpu {
namespace {

VL8_INLINE __mmask32 first_words(int64_t n) {
  return n >= 32 ? ~__mmask32(0) : n <= 0 ? 0 : (__mmask32(1) << n) - 1;
}
VL8_INLINE __mmask64 first_bytes(int64_t n) {
  return n >= 64 ? ~__mmask64(0) : n <= 0 ? 0 : (__mmask64(1) << n) - 1;
}

VL8_INLINE __m512i join_bf16(F low, F high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// 64 e4m3 to bf16, exactly: bytes 0-7 of each 16-byte lane to `low`, 8-15 to `high`.
//
// Both bytes of the bf16 are affine over GF(2) in the bits s e3 e2 e1 e0 m2 m1 m0 of a normal number:
//   high = s e3 ~e3 ~e3 ~e3 ~e3 e2 e1, low = e0 m2 m1 m0 0 0 0 0          (the exponent grows by 120)
// Subnormals (and zero) and the NaN code differ; they are rare in weights and mended when a vector has any.
VL8_INLINE void e4m3_to_bf16(__m512i q, __m512i* low, __m512i* high) {
  __m512i hi = _mm512_gf2p8affine_epi64_epi8(q, _mm512_set1_epi64(0x1020404040404080), 0x3c);
  __m512i lo = _mm512_gf2p8affine_epi64_epi8(q, _mm512_set1_epi64(0x0000000001020408), 0);
  // 2 q - 16 modulo 256 drops the sign: 0..0xec for normal numbers, 0xee for NaN, 0xf0..0xfe for subnormals.
  __m512i t = _mm512_sub_epi8(_mm512_add_epi8(q, q), _mm512_set1_epi8(16));
  __mmask64 special = _mm512_cmpgt_epu8_mask(t, _mm512_set1_epi8(char(0xec)));
  if (__builtin_expect(special != 0, 0)) {
    const __m512i hi_table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0x7f));
    const __m512i lo_table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0, char(0x80), char(0xc0), 0, 0x20, 0x40, 0x60, 0, 0, 0, 0, 0, 0, 0, char(0xc0)));
    __m512i index = _mm512_and_si512(q, _mm512_set1_epi8(15)),
            sign = _mm512_and_si512(q, _mm512_set1_epi8(char(0x80)));
    hi = _mm512_mask_blend_epi8(special, hi, _mm512_or_si512(_mm512_shuffle_epi8(hi_table, index), sign));
    lo = _mm512_mask_shuffle_epi8(lo, special, lo_table, index);
  }
  *low = _mm512_unpacklo_epi8(lo, hi);
  *high = _mm512_unpackhi_epi8(lo, hi);
}
// Spreads 64 bytes so that the unpacking above gives bytes 0..31 and 32..63.
VL8_INLINE __m512i spread_bytes(__m512i q) {
  return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), q);
}

// 32 numbers as bf16, rounded to nearest even where they are not exact; numbers from n on are zero.
template <Number N>
VL8_INLINE __m512i load_bf16_units(const void* data, int64_t i, int64_t n) {
  if constexpr (N == Number::bf16) return _mm512_maskz_loadu_epi16(first_words(n), (const uint16_t*)data + i);
  F low = n > 0 ? load_number_part<N>(data, i, n) : zero();
  F high = n > 16 ? load_number_part<N>(data, i + 16, n - 16) : zero();
  return join_bf16(low, high);
}

struct Bf16Units {
  static constexpr int64_t kPerUnit = 2;
  static constexpr int kExpDegree = 3;             // of the exponential in attention
  static constexpr bool kFoldsBlockScale = false;  // exact bf16 weights: block scales multiply the sums

  static void pack_group(const RowSet& s, int64_t k, int64_t units, bool, void* out) {
    for (int64_t u = 0; u < units; u += 16) {
      __m512i r[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        r[i] = i < s.rows ? load_bf16_units<Number::f32>(s.row[i], u * 2, k - u * 2) : _mm512_setzero_si512();
      transpose(r);
      char* to = (char*)out + u * 64;
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j)
        if (j < units - u) _mm512_storeu_si512(to + j * 64, r[j]);
    }
  }

  // The same columns of the next chunk, to L2: it is needed when this chunk has been multiplied.
  VL8_INLINE void prefetch_chunk(const void* p, int64_t element_bits) {
    __builtin_prefetch((const char*)p + kChunkUnits * 2 * element_bits / 8, 0, 2);
  }
  // 32 weights from column k0 (a multiple of 32) with their group scales, rounded to bf16: scales that change along K
  // inside a tile cannot multiply its sums.
  template <Number N>
  VL8_INLINE __m512i load_group_units(const WeightRows& w, int64_t row, int64_t k0) {
    const int64_t n = w.k - k0, at = row * w.k + k0;
    if (n <= 0) return _mm512_setzero_si512();
    const RowScale scale = RowScale::of(w, row);
    F low = mul(load_number_part<N>(w.data, at, n), all(scale.at(k0 / w.block_cols)));
    F high = n > 16 ? mul(load_number_part<N>(w.data, at + 16, n - 16), all(scale.at((k0 + 16) / w.block_cols))) : zero();
    return join_bf16(low, high);
  }
  static void expand_e4m3(const uint8_t* from, int64_t k, int64_t units, char* to) {
    for (int64_t c = 0; c < units; c += 32, from += 64, k -= 64, to += 2 * kTileBytes) {
      prefetch_chunk(from, 8);
      __m512i low, high;
      e4m3_to_bf16(spread_bytes(_mm512_maskz_loadu_epi8(first_bytes(k), from)), &low, &high);
      _mm512_store_si512(to, low);
      if (units - c > 16) _mm512_store_si512(to + kTileBytes, high);
    }
  }
  template <Number N>
  static void expand_number(const WeightRows& w, int64_t row, int64_t k0, int64_t units, char* to) {
    const char* from = (const char*)w.data + byte_of<N>(row * w.k + k0);
    for (int64_t c = 0; c < units; c += 16, to += kTileBytes) {
      for (int i = 0; i < (number_bits<N>() + 15) / 16; ++i)
        prefetch_chunk(from + byte_of<N>(c * 2) + i * 64, number_bits<N>());
      if (w.scaling == Scaling::group)
        _mm512_store_si512(to, load_group_units<N>(w, row, k0 + c * 2));
      else
        _mm512_store_si512(to, load_bf16_units<N>(w.data, row * w.k + k0 + c * 2, w.k - k0 - c * 2));
    }
  }
  static void expand_row(const WeightRows& w, int64_t row, int64_t k0, int64_t units, bool, char* to) {
    switch (w.type) {
      case Number::f32:
        return expand_number<Number::f32>(w, row, k0, units, to);
      case Number::f16:
        return expand_number<Number::f16>(w, row, k0, units, to);
      case Number::bf16:
        return expand_number<Number::bf16>(w, row, k0, units, to);
      case Number::e4m3:
        return expand_e4m3((const uint8_t*)w.data + row * w.k + k0, w.k - k0, units, to);
      case Number::e5m2:
        return expand_number<Number::e5m2>(w, row, k0, units, to);
      case Number::i8:
        return expand_number<Number::i8>(w, row, k0, units, to);
      case Number::i4:
        return expand_number<Number::i4>(w, row, k0, units, to);
      case Number::e2m1:
        return expand_number<Number::e2m1>(w, row, k0, units, to);
    }
  }

  static void key_row(const void* data, bool bf16, int64_t d, int64_t units, char* to) {
    for (int64_t c = 0; c < units; c += 16, to += kTileBytes)
      _mm512_store_si512(to, bf16 ? load_bf16_units<Number::bf16>(data, c * 2, d - c * 2)
                                  : load_bf16_units<Number::f32>(data, c * 2, d - c * 2));
  }
  // 16 features of up to 32 keys; a unit is two keys.
  static void value_tile(const void* const* rows, bool bf16, int64_t keys, int64_t d0, int64_t d, char* to) {
    const M lanes = first_lanes(d - d0);
    auto bits = [&](int64_t key) -> __m512i {
      if (key >= keys) return _mm512_setzero_si512();
      if (bf16)
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, (const uint16_t*)rows[key] + d0));
      return bf16_bits(_mm512_maskz_loadu_ps(lanes, (const float*)rows[key] + d0));
    };
    __m512i r[16];
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) r[j] = _mm512_or_si512(bits(2 * j), _mm512_slli_epi32(bits(2 * j + 1), 16));
    transpose(r);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) _mm512_store_si512(to + j * 64, r[j]);
  }
  VL8_INLINE void store_pair(float* probs, int64_t j, F a, F b) {
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_store_si512(probs + j / 2 * 16, _mm512_permutexvar_epi16(zip, join_bf16(a, b)));
  }
};

}  // namespace
}  // namespace vl8::cpu

// Weights of eight and four bits in integer and E2M1 form, on AVX2. Included by vec_avx2.inl.
namespace vl8::cpu {
namespace {

VL8_INLINE F from_i8(__m128i q) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
}
template <Number N>
VL8_INLINE F from_four_bits(uint32_t codes) {
  const __m256i q = _mm256_srlv_epi32(_mm256_set1_epi32(int(codes)), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
  if constexpr (N == Number::i4)
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_and_si256(q, _mm256_set1_epi32(15)), _mm256_set1_epi32(8)));
  const F size = _mm256_permutevar8x32_ps(_mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6), q);  // looks at three bits
  return _mm256_or_ps(size, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_and_si256(q, _mm256_set1_epi32(8)), 28)));
}

template <Number N>
VL8_INLINE F load_narrow(const void* data, int64_t i) {
  if constexpr (N == Number::i8) return from_i8(_mm_loadl_epi64((const __m128i*)((const uint8_t*)data + i)));
  uint32_t codes;
  __builtin_memcpy(&codes, (const uint8_t*)data + i / 2, 4);
  return from_four_bits<N>(codes);
}
template <Number N>
VL8_INLINE F load_narrow_part(const void* data, int64_t i, int64_t n) {
  if (n >= 8) return load_narrow<N>(data, i);
  alignas(16) uint8_t t[16] = {};
  if constexpr (N == Number::i8) {
    for (int64_t b = 0; b < n; ++b) t[b] = ((const uint8_t*)data)[i + b];
    return load_narrow<N>(t, 0);
  }
  for (int64_t b = 0; b < (n + 1) / 2; ++b) t[b] = ((const uint8_t*)data)[i / 2 + b];
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, load_narrow<N>(t, 0));
  for (int64_t j = n < 0 ? 0 : n; j < 8; ++j) lanes[j] = 0;  // code 0 of i4 is -8
  return _mm256_load_ps(lanes);
}

}  // namespace
}  // namespace vl8::cpu

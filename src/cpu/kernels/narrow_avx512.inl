// Weights of eight and four bits in integer and E2M1 form, on AVX-512. Included by vec_avx512.inl.
namespace vl8::cpu {
namespace {

template <Number N>
VL8_INLINE F four_bit_values() {  // of the sixteen codes
  if constexpr (N == Number::i4)
    return _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  return _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
}
// 16 codes: the eight of the low half of `words` in every lane of the low half, and so on.
template <Number N>
VL8_INLINE F from_four_bits(uint64_t codes) {
  const __m512i words = _mm512_inserti64x4(_mm512_set1_epi32(int(uint32_t(codes))),
                                           _mm256_set1_epi32(int(uint32_t(codes >> 32))), 1);
  const __m512i shift = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  return _mm512_permutexvar_ps(_mm512_srlv_epi32(words, shift), four_bit_values<N>());
}
VL8_INLINE F from_i8(__m128i q) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

template <Number N>
VL8_INLINE F load_narrow(const void* data, int64_t i) {
  if constexpr (N == Number::i8) return from_i8(_mm_loadu_si128((const __m128i*)((const uint8_t*)data + i)));
  uint64_t codes;
  __builtin_memcpy(&codes, (const uint8_t*)data + i / 2, 8);
  return from_four_bits<N>(codes);
}
template <Number N>
VL8_INLINE F load_narrow_part(const void* data, int64_t i, int64_t n) {
  if (n >= 16) return load_narrow<N>(data, i);
  const M m = first_lanes(n);
  if constexpr (N == Number::i8) return from_i8(_mm_maskz_loadu_epi8(m, (const uint8_t*)data + i));
  uint64_t codes = 0;
  __builtin_memcpy(&codes, (const uint8_t*)data + i / 2, size_t(n + 1) / 2);
  return _mm512_maskz_mov_ps(m, from_four_bits<N>(codes));
}

}  // namespace
}  // namespace vl8::cpu

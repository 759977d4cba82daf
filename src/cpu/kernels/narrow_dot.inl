// Four-bit weights as bf16 pairs for the dot products of gemv_bf16.inl: 64 codes are spread to 64 bytes (even columns
// in the low half, odd ones in the high half), two table look-ups give the two bytes of each bf16, and unpacking joins
// them. Every value of i4 and e2m1 is exact in bf16. The tokens are stored in the order that this leaves.
namespace vl8::cpu {
namespace {

template <Number N>
constexpr bool four_bits() {
  return N == Number::i4 || N == Number::e2m1;
}

// Column of word j of the first (half 0) or second vector.
constexpr int16_t four_bit_column(int half, int j) {
  const int lane = j / 8, word = j % 8, pair = (lane % 2) * 16 + half * 8 + word;  // even columns are pairs 0..31
  return int16_t(pair * 2 + lane / 2);
}
struct FourBitOrder {
  alignas(64) int16_t column[2][32];
};
constexpr FourBitOrder make_four_bit_order() {
  FourBitOrder o{};
  for (int half = 0; half < 2; ++half)
    for (int j = 0; j < 32; ++j) o.column[half][j] = four_bit_column(half, j);
  return o;
}
static constexpr FourBitOrder kFourBitOrder = make_four_bit_order();

VL8_INLINE void order_for_four_bits(__m512i* a, __m512i* b) {
  const __m512i x = *a, y = *b;
  *a = _mm512_permutex2var_epi16(x, _mm512_load_si512(kFourBitOrder.column[0]), y);
  *b = _mm512_permutex2var_epi16(x, _mm512_load_si512(kFourBitOrder.column[1]), y);
}

template <Number N>
VL8_INLINE __m512i four_bit_bytes(bool high) {  // of the bf16 of each code
  const __m128i i4_high = _mm_setr_epi8(char(0xc1), char(0xc0), char(0xc0), char(0xc0), char(0xc0), char(0xc0), char(0xc0),
                                        char(0xbf), 0, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40);
  const __m128i i4_low = _mm_setr_epi8(0, char(0xe0), char(0xc0), char(0xa0), char(0x80), 0x40, 0, char(0x80), 0,
                                       char(0x80), 0, 0x40, char(0x80), char(0xa0), char(0xc0), char(0xe0));
  const __m128i fp_high = _mm_setr_epi8(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, char(0x80), char(0xbf), char(0xbf),
                                        char(0xbf), char(0xc0), char(0xc0), char(0xc0), char(0xc0));
  const __m128i fp_low = _mm_setr_epi8(0, 0, char(0x80), char(0xc0), 0, 0x40, char(0x80), char(0xc0), 0, 0, char(0x80),
                                       char(0xc0), 0, 0x40, char(0x80), char(0xc0));
  return _mm512_broadcast_i32x4(N == Number::i4 ? (high ? i4_high : i4_low) : (high ? fp_high : fp_low));
}

// 64 codes from an even element `at`; those from n on count as zero (their tokens are zero too, so any number does).
template <Number N>
VL8_INLINE void load_64_four_bits(const void* data, int64_t at, int64_t n, __m512i* a, __m512i* b) {
  const uint8_t* p = (const uint8_t*)data + at / 2;
  const __m256i q = n >= 64 ? _mm256_loadu_si256((const __m256i*)p)
                            : _mm256_maskz_loadu_epi8(__mmask32(n <= 0 ? 0 : (1ull << ((n + 1) / 2)) - 1), p);
  const __m512i both = _mm512_broadcast_i64x4(q);
  const __m512i shift = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
  const __m512i codes = _mm512_and_si512(_mm512_srlv_epi16(both, shift), _mm512_set1_epi8(15));
  const __m512i high = _mm512_shuffle_epi8(four_bit_bytes<N>(true), codes),
                low = _mm512_shuffle_epi8(four_bit_bytes<N>(false), codes);
  *a = _mm512_unpacklo_epi8(low, high);
  *b = _mm512_unpackhi_epi8(low, high);
}

}  // namespace
}  // namespace vl8::cpu

// Matrix times 1..8 tokens with bf16 products (VDPBF16PS): weights are decoded to bf16 pairs in registers.
// For e4m3 the tokens are stored in the order in which unpacking leaves the weights (e4m3_to_bf16), which
// saves a permutation of every 64 weights.
namespace vl8::cpu {
namespace {

static int64_t gemv_bf16_bytes(int64_t k, Number) {
  return ceil_div(k, 64) * 128;
}

static void gemv_bf16_pack(const GemvPack& p) {
  char* out = (char*)p.out;
  for (int64_t i = 0; i < p.k; i += 64, out += 128) {
    __m512i a = load_bf16_units<Number::f32>(p.x, i, p.k - i),
            b = load_bf16_units<Number::f32>(p.x, i + 32, p.k - i - 32);
    if (p.type == Number::e4m3) {  // 8 words of every 16 to the first vector, the others to the second
      const __m512i even = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13),
                    odd = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
      __m512i c = _mm512_permutex2var_epi64(a, even, b);
      b = _mm512_permutex2var_epi64(a, odd, b), a = c;
    }
    _mm512_storeu_si512(out, a);
    _mm512_storeu_si512(out + 64, b);
  }
}

// 64 weights as two vectors of bf16, in the order of gemv_bf16_pack. n: how many there are.
template <Number N>
VL8_INLINE void load_64(const void* data, int64_t at, int64_t n, __m512i* a, __m512i* b) {
  if constexpr (N == Number::e4m3) {
    const uint8_t* p = (const uint8_t*)data + at;
    e4m3_to_bf16(n >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(first_bytes(n), p), a, b);
  } else if constexpr (N == Number::bf16) {
    const uint16_t* p = (const uint16_t*)data + at;
    *a = n >= 32 ? _mm512_loadu_si512(p) : load_bf16_units<N>(data, at, n);
    *b = n >= 64 ? _mm512_loadu_si512(p + 32) : load_bf16_units<N>(data, at + 32, n - 32);
  } else {
    *a = load_bf16_units<N>(data, at, n);
    *b = load_bf16_units<N>(data, at + 32, n - 32);
  }
}

template <Number N, int R, int T>
VL8_INLINE void dot_64(const GemvTask& t, int64_t row, int64_t step, int64_t k, int64_t n, F (&part)[R][T]) {
  const char* x = (const char*)t.x + k * 2;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    int64_t at = (row + r * step) * t.w.k + k;
    const char* ahead = (const char*)t.w.data + at * number_bytes<N>() + kPrefetchBytes;
    __builtin_prefetch(ahead);
    if (number_bytes<N>() >= 2) __builtin_prefetch(ahead + 64);
    if (number_bytes<N>() == 4) __builtin_prefetch(ahead + 128), __builtin_prefetch(ahead + 192);
    __m512i a, b;
    load_64<N>(t.w.data, at, n, &a, &b);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      part[r][i] =
          _mm512_dpbf16_ps(part[r][i], (__m512bh)a, (__m512bh)_mm512_loadu_si512(x + i * t.x_stride));
      part[r][i] =
          _mm512_dpbf16_ps(part[r][i], (__m512bh)b, (__m512bh)_mm512_loadu_si512(x + i * t.x_stride + 64));
    }
  }
}

// Columns [k0, k1) where k0 is a multiple of 64 and k1 too, or the end.
template <Number N, int R, int T>
VL8_INLINE void dot_columns_bf16(const GemvTask& t, int64_t row, int64_t step, int64_t k0, int64_t k1,
                                 F (&part)[R][T]) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) part[r][i] = zero();
  int64_t k = k0;
  for (; k + 64 <= k1; k += 64) dot_64<N, R, T>(t, row, step, k, 64, part);
  if (k < k1) dot_64<N, R, T>(t, row, step, k, k1 - k, part);
}

template <Number N, int R, int T>
VL8_INLINE void gemv_bf16_rows(const GemvTask& t, int64_t row, int64_t step) {
  const WeightRows& w = t.w;
  F total[R][T], part[R][T];
  if (w.scaling != Scaling::block) {
    dot_columns_bf16<N, R, T>(t, row, step, 0, w.k, total);
  } else {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) total[r][i] = zero();
    const int64_t columns = ceil_div(w.k, w.block_cols);
    const float* scale[R];
    for (int r = 0; r < R; ++r) scale[r] = w.scale + (row + r * step) / w.block_rows * columns;
    for (int64_t c = 0; c < columns; ++c) {
      dot_columns_bf16<N, R, T>(t, row, step, c * w.block_cols, min64(w.k, (c + 1) * w.block_cols), part);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int i = 0; i < T; ++i) total[r][i] = fma(part[r][i], all(scale[r][c]), total[r][i]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < T; ++i)
      t.y[i * t.y_stride + row + r * step] = finish_one(t, i, row + r * step, sum(total[r][i]));
}

template <Number N, int R, int T>
static void gemv_bf16_streams(const GemvTask& t) {
  int64_t step = (t.row_end - t.row_begin) / R, row = t.row_begin;
  for (int64_t i = 0; i < step; ++i) gemv_bf16_rows<N, R, T>(t, row + i, step);
  for (int64_t i = row + R * step; i < t.row_end; ++i) gemv_bf16_rows<N, 1, T>(t, i, 1);
}
template <Number N>
static void gemv_bf16_number(const GemvTask& t) {
  switch (t.tokens) {
    case 1:
      return gemv_bf16_streams<N, 4, 1>(t);
    case 2:
      return gemv_bf16_streams<N, 4, 2>(t);
    case 3:
      return gemv_bf16_streams<N, 2, 3>(t);
    case 4:
      return gemv_bf16_streams<N, 2, 4>(t);
    case 5:
      return gemv_bf16_streams<N, 2, 5>(t);
    case 6:
      return gemv_bf16_streams<N, 2, 6>(t);
    case 7:
      return gemv_bf16_streams<N, 2, 7>(t);
    case 8:
      return gemv_bf16_streams<N, 2, 8>(t);
  }
}
static void gemv_bf16(const GemvTask& t) {
  switch (t.w.type) {
    case Number::f32:
      return gemv_bf16_number<Number::f32>(t);
    case Number::f16:
      return gemv_bf16_number<Number::f16>(t);
    case Number::bf16:
      return gemv_bf16_number<Number::bf16>(t);
    case Number::e4m3:
      return gemv_bf16_number<Number::e4m3>(t);
    case Number::e5m2:
      return gemv_bf16_number<Number::e5m2>(t);
  }
}

}  // namespace
}  // namespace vl8::cpu

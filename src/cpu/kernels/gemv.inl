// Matrix times 1..8 tokens in float32, for weights of any format: every weight is read once and decoded in
// registers. Rows are walked as several streams, each over its own run of consecutive rows, which memory
// likes best.
namespace vl8::cpu {
namespace {

constexpr int64_t kPrefetchBytes = 1024;  // measured on Zen 5: 512..2048 are alike, 0 loses 10 %

constexpr int64_t kGemvBlock = 256;

static void gemv_pack(const GemvPack& p) {
  for (int64_t k = 0; k < p.k; k += 64) {
    float* out = (float*)p.out + (k * p.tokens + p.token * 64);
    for (int64_t i = 0; i < 64; i += kWidth) {
      F x = k + i < p.k ? load_part(p.x + k + i, p.k - k - i) : zero();
      store(out + i, p.round_bf16 ? round_bf16(x) : x);
    }
  }
}

VL8_INLINE float finish_one(const GemvTask& t, int64_t token, int64_t row, float sum_) {
  if (t.w.scaling == Scaling::tensor) sum_ *= t.w.scale[0];
  if (t.w.scaling == Scaling::channel) sum_ *= t.w.scale[row];
  if (t.finish.bias) sum_ += t.finish.bias[row];
  if (t.finish.curve != Curve::none) {
    alignas(64) float lanes[16];
    store(lanes, apply_curve(t.finish.curve, all(sum_)));
    sum_ = lanes[0];
  }
  if (t.finish.residual) sum_ += t.finish.residual[token * t.y_stride + row];
  return sum_;
}

// 64 consecutive weights; e4m3 as value / 256.
template <Number N>
VL8_INLINE void load_64(const void* data, int64_t at, F (&w)[64 / kWidth]) {
  if constexpr (N == Number::e4m3) {
    load_64_e4m3((const uint8_t*)data + at, w);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < 64 / kWidth; ++i) w[i] = load_number<N>(data, at + i * kWidth);
  }
}
template <Number N>
VL8_INLINE void prefetch_64(const GemvTask& t, int64_t at) {
  constexpr int64_t kBits = number_bits<N>();
  const char* p = (const char*)t.w.data + byte_of<N>(at);
  __builtin_prefetch(p);
  if (kBits >= 16) __builtin_prefetch(p + 64);
  if (kBits == 32) __builtin_prefetch(p + 128), __builtin_prefetch(p + 192);
}

// One row of a GemvTask while its sums grow, in float32. gemv_bf16.inl has the same with bf16 products.
template <Number N, int T>
struct FloatRow {
  static constexpr Number kNumber = N;
  static constexpr int kTokens = T;
  static constexpr float kScale = N == Number::e4m3 ? 256.f : 1.f;  // load_64_e4m3 gives value / 256
  F part[T];
  Spoiled spoiled;

  __attribute__((always_inline)) void clear() {
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) part[i] = zero();
  }
  __attribute__((always_inline)) F value(int i) const { return part[i]; }
  __attribute__((always_inline)) void add_64(const GemvTask& t, int64_t at, int64_t k) {
    F w[64 / kWidth];
    load_64<N>(t.w.data, at, w);
    if (N == Number::e4m3) spoiled.see_64((const uint8_t*)t.w.data + at);
    if ((N == Number::f32 || N == Number::f16) && t.round_bf16)
      for (F& f : w) f = round_bf16(f);
    const float* x = (const float*)t.x + k * T;
#pragma GCC unroll 8
    for (int j = 0; j < 64 / kWidth; ++j)
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) part[i] = fma(w[j], load(x + i * 64 + j * kWidth), part[i]);
  }
  // Fewer than 64 columns.
  void add_rest(const GemvTask& t, int64_t at, int64_t k, int64_t n) {
    for (int64_t j = 0; j < n; j += kWidth) {
      F w = load_number_part<N>(t.w.data, at + j, n - j);
      if ((N == Number::f32 || N == Number::f16) && t.round_bf16) w = round_bf16(w);
      w = mul(w, all(1.f / kScale));
      for (int i = 0; i < T; ++i) {
        const int64_t col = k + j;
        part[i] =
            fma(w, load_part((const float*)t.x + col / 64 * 64 * T + i * 64 + col % 64, n - j), part[i]);
      }
    }
  }
};

constexpr int64_t kSpan = 1024;  // columns of one partial sum where there are no block scales

VL8_INLINE int64_t span_of(const WeightRows& w) {
  return w.scaling == Scaling::block || w.scaling == Scaling::group ? w.block_cols : kSpan;
}

// Scales of the spans of one row; they are one and the same where there are neither blocks nor groups.
struct SpanScale {
  RowScale row;
  int64_t step;
  VL8_INLINE SpanScale of(const WeightRows& w, int64_t row) {
    static constexpr float kOne = 1.f;
    if (w.scaling != Scaling::block && w.scaling != Scaling::group) return {{&kOne, nullptr}, 0};
    return {RowScale::of(w, row), 1};
  }
  __attribute__((always_inline)) float at(int64_t span) const { return row.at(span * step); }
};

// Adds span c of R rows (row, row + step, ...) to their totals; `ahead` elements further is what comes next.
template <class Row, int R>
VL8_INLINE void add_span(const GemvTask& t, int64_t row, int64_t step, int64_t c, int64_t span, int64_t ahead,
                         Row (&rows)[R], const SpanScale* scale, F (*total)[Row::kTokens]) {
  const int64_t k0 = c * span, k1 = min64(t.w.k, k0 + span);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) rows[r].clear();
  int64_t k = k0;
  for (; k + 64 <= k1; k += 64)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const int64_t at = (row + r * step) * t.w.k + k;
      prefetch_64<Row::kNumber>(t, at + ahead);
      rows[r].add_64(t, at, k);
    }
  if (k < k1)
    for (int r = 0; r < R; ++r) rows[r].add_rest(t, (row + r * step) * t.w.k + k, k, k1 - k);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    F s = all(scale[r].at(c) * Row::kScale);
#pragma GCC unroll 8
    for (int i = 0; i < Row::kTokens; ++i) total[r][i] = fma(rows[r].value(i), s, total[r][i]);
  }
}

template <class Row>
VL8_INLINE void finish_row(const GemvTask& t, int64_t row, bool spoiled, const F* total) {
  for (int i = 0; i < Row::kTokens; ++i)
    t.y[i * t.y_stride + row] = finish_one(t, i, row, spoiled ? __builtin_nanf("") : sum(total[i]));
}

// Few tokens: R streams, each over its own run of consecutive rows.
template <class Row, int R>
VL8_INLINE void stream_rows(const GemvTask& t, int64_t row, int64_t step) {
  Row rows[R];
  SpanScale scale[R];
  F total[R][Row::kTokens];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    rows[r].spoiled = Spoiled::none();
    scale[r] = SpanScale::of(t.w, row + r * step);
#pragma GCC unroll 8
    for (int i = 0; i < Row::kTokens; ++i) total[r][i] = zero();
  }
  const int64_t span = span_of(t.w), ahead = kPrefetchBytes * 8 / number_bits<Row::kNumber>();
  for (int64_t c = 0; c * span < t.w.k; ++c)
    add_span<Row, R>(t, row, step, c, span, ahead, rows, scale, total);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) finish_row<Row>(t, row + r * step, rows[r].spoiled.any(), total[r]);
}
template <class Row, int R>
static void gemv_streams(const GemvTask& t) {
  const int64_t step = (t.row_end - t.row_begin) / R;
  for (int64_t i = 0; i < step; ++i) stream_rows<Row, R>(t, t.row_begin + i, step);
  for (int64_t i = t.row_begin + R * step; i < t.row_end; ++i) stream_rows<Row, 1>(t, i, 1);
}

constexpr int64_t kGemvRows = 32;

// What a block of rows carries from one group of spans to the next.
template <class Row>
struct RowBlock {
  F total[kGemvRows][Row::kTokens];
  SpanScale scale[kGemvRows];
  Spoiled spoiled[kGemvRows];
};

template <class Row, int R>
VL8_INLINE void add_spans(const GemvTask& t, RowBlock<Row>& b, int64_t row0, int64_t r, int64_t c0,
                          int64_t c1, int64_t span, int64_t ahead) {
  Row rows[R];
  for (int i = 0; i < R; ++i) rows[i].spoiled = b.spoiled[r + i];
  for (int64_t c = c0; c < c1; ++c)
    add_span<Row, R>(t, row0 + r, 1, c, span, ahead, rows, b.scale + r, b.total + r);
  for (int i = 0; i < R; ++i) b.spoiled[r + i] = rows[i].spoiled;
}

// More tokens: their numbers would not fit L1, so a few spans at a time are used for a block of rows, R at
// once.
template <class Row, int R>
static void gemv_blocks(const GemvTask& t) {
  RowBlock<Row> b;
  const int64_t span = span_of(t.w), spans = ceil_div(t.w.k, span), group = span < kSpan ? kSpan / span : 1;
  for (int64_t row0 = t.row_begin; row0 < t.row_end; row0 += kGemvRows) {
    const int64_t rows = min64(kGemvRows, t.row_end - row0);
    for (int64_t r = 0; r < rows; ++r) {
      b.spoiled[r] = Spoiled::none();
      b.scale[r] = SpanScale::of(t.w, row0 + r);
      for (int i = 0; i < Row::kTokens; ++i) b.total[r][i] = zero();
    }
    for (int64_t c0 = 0; c0 < spans; c0 += group) {
      const int64_t c1 = min64(spans, c0 + group), wrap = group * span - (rows - 1) * t.w.k;
      int64_t r = 0;
      for (; r + R <= rows; r += R)
        add_spans<Row, R>(t, b, row0, r, c0, c1, span, r + 2 * R <= rows ? R * t.w.k : wrap);
      for (; r < rows; ++r) add_spans<Row, 1>(t, b, row0, r, c0, c1, span, r + 1 < rows ? t.w.k : wrap);
    }
    for (int64_t r = 0; r < rows; ++r) finish_row<Row>(t, row0 + r, b.spoiled[r].any(), b.total[r]);
  }
}

template <template <Number, int> class Row, Number N>
VL8_INLINE void gemv_number(const GemvTask& t) {
  switch (t.tokens) {
    case 1:
      return gemv_streams<Row<N, 1>, 4>(t);
    case 2:
      return gemv_streams<Row<N, 2>, 4>(t);
    case 3:
      return gemv_blocks<Row<N, 3>, 2>(t);
    case 4:
      return gemv_blocks<Row<N, 4>, 2>(t);
    case 5:
      return gemv_blocks<Row<N, 5>, 1>(t);
    case 6:
      return gemv_blocks<Row<N, 6>, 1>(t);
    case 7:
      return gemv_blocks<Row<N, 7>, 1>(t);
    case 8:
      return gemv_blocks<Row<N, 8>, 1>(t);
  }
}
template <template <Number, int> class Row>
void gemv(const GemvTask& t) {
  switch (t.w.type) {
    case Number::f32:
      return gemv_number<Row, Number::f32>(t);
    case Number::f16:
      return gemv_number<Row, Number::f16>(t);
    case Number::bf16:
      return gemv_number<Row, Number::bf16>(t);
    case Number::e4m3:
      return gemv_number<Row, Number::e4m3>(t);
    case Number::e5m2:
      return gemv_number<Row, Number::e5m2>(t);
    case Number::i8:
      return gemv_number<Row, Number::i8>(t);
    case Number::i4:
      return gemv_number<Row, Number::i4>(t);
    case Number::e2m1:
      return gemv_number<Row, Number::e2m1>(t);
  }
}

}  // namespace
}  // namespace vl8::cpu

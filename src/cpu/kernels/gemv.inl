// Matrix times 1..8 tokens in float32, for weights of any format: every weight is read once and decoded in
// registers. Rows are walked as several streams, each over its own run of consecutive rows, which memory
// likes best.
namespace vl8::cpu {
namespace {

constexpr int64_t kPrefetchBytes = 1024;  // measured on Zen 5: 512..2048 are alike, 0 loses 10 %

template <Number N>
constexpr int64_t number_bytes() {
  return N == Number::f32 ? 4 : N == Number::f16 || N == Number::bf16 ? 2 : 1;
}

VL8_INLINE int64_t gemv_f32_bytes(int64_t k) {
  return ceil_div(k, 64) * 256;
}

static int64_t gemv_bytes(int64_t k, Number) {
  return gemv_f32_bytes(k);
}

static void gemv_pack(const GemvPack& p) {
  float* out = (float*)p.out;
  for (int64_t i = 0; i < ceil_div(p.k, 64) * 64; i += kWidth) {
    F x = i < p.k ? load_part(p.x + i, p.k - i) : zero();
    store(out + i, p.round_bf16 ? round_bf16(x) : x);
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

// Sums of columns [k0, k1) of R rows at row, row + step, ... for T tokens into part. Columns beyond w.k read
// as zero.
template <Number N, int R, int T>
VL8_INLINE void dot_columns(const GemvTask& t, int64_t row, int64_t step, int64_t k0, int64_t k1,
                            F (&part)[R][T]) {
  const bool round = t.round_bf16 && (N == Number::f32 || N == Number::f16);
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < T; ++i) part[r][i] = zero();
  int64_t k = k0;
  for (; k + kWidth <= k1; k += kWidth) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      int64_t at = (row + r * step) * t.w.k + k;
      __builtin_prefetch((const char*)t.w.data + at * number_bytes<N>() + kPrefetchBytes);
      F w = load_number<N>(t.w.data, at);
      if (round) w = round_bf16(w);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i)
        part[r][i] = fma(w, load((const float*)((const char*)t.x + i * t.x_stride) + k), part[r][i]);
    }
  }
  if (k == k1) return;
  for (int r = 0; r < R; ++r) {
    F w = load_number_part<N>(t.w.data, (row + r * step) * t.w.k + k, k1 - k);
    if (round) w = round_bf16(w);
    for (int i = 0; i < T; ++i) {
      F x = load_part((const float*)((const char*)t.x + i * t.x_stride) + k, k1 - k);
      part[r][i] = fma(w, x, part[r][i]);
    }
  }
}

template <Number N, int R, int T>
VL8_INLINE void gemv_rows(const GemvTask& t, int64_t row, int64_t step) {
  const WeightRows& w = t.w;
  F total[R][T], part[R][T];
  if (w.scaling != Scaling::block) {
    dot_columns<N, R, T>(t, row, step, 0, w.k, total);
  } else {
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < T; ++i) total[r][i] = zero();
    const int64_t columns = ceil_div(w.k, w.block_cols);
    for (int64_t c = 0; c < columns; ++c) {
      dot_columns<N, R, T>(t, row, step, c * w.block_cols, min64(w.k, (c + 1) * w.block_cols), part);
      for (int r = 0; r < R; ++r) {
        F s = all(w.scale[(row + r * step) / w.block_rows * columns + c]);
        for (int i = 0; i < T; ++i) total[r][i] = fma(part[r][i], s, total[r][i]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int i = 0; i < T; ++i)
      t.y[i * t.y_stride + row + r * step] = finish_one(t, i, row + r * step, sum(total[r][i]));
}

// R streams of rows / R rows each, then what is left row by row.
template <Number N, int R, int T>
static void gemv_streams(const GemvTask& t) {
  int64_t step = (t.row_end - t.row_begin) / R, row = t.row_begin;
  for (int64_t i = 0; i < step; ++i) gemv_rows<N, R, T>(t, row + i, step);
  for (int64_t i = row + R * step; i < t.row_end; ++i) gemv_rows<N, 1, T>(t, i, 1);
}
template <Number N>
static void gemv_number(const GemvTask& t) {
  switch (t.tokens) {
    case 1:
      return gemv_streams<N, 4, 1>(t);
    case 2:
      return gemv_streams<N, 4, 2>(t);
    case 3:
      return gemv_streams<N, 2, 3>(t);
    case 4:
      return gemv_streams<N, 2, 4>(t);
    case 5:
      return gemv_streams<N, 1, 5>(t);
    case 6:
      return gemv_streams<N, 1, 6>(t);
    case 7:
      return gemv_streams<N, 1, 7>(t);
    case 8:
      return gemv_streams<N, 1, 8>(t);
  }
}
static void gemv(const GemvTask& t) {
  switch (t.w.type) {
    case Number::f32:
      return gemv_number<Number::f32>(t);
    case Number::f16:
      return gemv_number<Number::f16>(t);
    case Number::bf16:
      return gemv_number<Number::bf16>(t);
    case Number::e4m3:
      return gemv_number<Number::e4m3>(t);
    case Number::e5m2:
      return gemv_number<Number::e5m2>(t);
  }
}

}  // namespace
}  // namespace vl8::cpu

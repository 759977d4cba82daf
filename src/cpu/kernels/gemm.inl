// Matrix product y = x Wᵀ for one block of weight rows and up to 768 tokens. The weights of the block are
// expanded, kChunkUnits of K at a time, into a panel that stays in L2 and is used for every token of the
// task; sums live in L2.
namespace vl8::cpu {
namespace {

template <class Core>
void pack_tokens(const PackTokens& p) {
  RowSet set;
  set.rows = p.rows;
  for (int64_t i = 0; i < 16; ++i) {
    int64_t r = i < p.rows ? (p.row_index ? p.row_index[i] : i) : 0;
    set.row[i] = p.x + r * p.row_stride;
  }
  Core::pack_group(set, p.k, p.units, p.round_bf16, p.out);
}

// Units of K from `unit` that share a block scale, and that scale's column.
template <class Core>
VL8_INLINE int64_t scale_run(const WeightRows& w, int64_t unit, int64_t limit, int64_t* column) {
  if (Core::kFoldsBlockScale || w.scaling != Scaling::block) return limit;
  *column = unit * Core::kPerUnit / w.block_cols;
  return min64(limit, (*column + 1) * w.block_cols / Core::kPerUnit - unit);
}

// Scale of panel tile `tile` (of 16 rows) in scale column `column`; 1 where scales are applied at the end.
template <class Core>
VL8_INLINE float tile_scale(const MultiplyTask& t, int64_t tile, int64_t column) {
  if (Core::kFoldsBlockScale || t.w.scaling != Scaling::block) return 1.f;
  return t.w.scale[(t.row_begin + tile * 16) / t.w.block_rows * ceil_div(t.w.k, t.w.block_cols) + column];
}

// Sums of one chunk of K for all tokens. `first`: sums start here.
template <class Core>
VL8_INLINE void multiply_chunk(const MultiplyTask& t, int64_t unit0, int64_t units, bool first) {
  const int64_t rows = t.row_end - t.row_begin, tiles = ceil_div(rows, 16), groups = ceil_div(t.tokens, 16);
  const int64_t group_bytes = t.units * 64;
  for (int64_t g = 0; g < groups; g += Core::kGroups) {
    int gn = int(min64(Core::kGroups, groups - g));
    const char* x = (const char*)t.x + g * group_bytes + unit0 * 64;
    for (int64_t tile = 0; tile < tiles; tile += Core::kTiles) {
      int tn = int(min64(Core::kTiles, tiles - tile));
      const char* panel = (const char*)t.panel + tile * kPanelChunks * kTileBytes;
      float* sums = t.sums + (g * kTaskRows + tile * 16) * 16;
      for (int64_t u = 0; u < units;) {
        int64_t column = 0, run = scale_run<Core>(t.w, unit0 + u, units - u, &column);
        bool start = first && u == 0;
        float scale[Core::kTiles];
        for (int i = 0; i < Core::kTiles; ++i)
          scale[i] = i < tn ? tile_scale<Core>(t, tile + i, column) : 1.f;
        Core::accumulate(panel + u / 16 * kTileBytes, kPanelChunks * kTileBytes, tn, x + u * 64, group_bytes,
                         gn, run, [&](int r, int v, int p, F acc) __attribute__((always_inline)) {
                           float* s = sums + (v * kTaskRows + r) * 16 + p * kWidth;
                           F f = all(scale[Core::kTiles > 1 ? r / 16 : 0]);
                           store(s, start ? mul(acc, f) : fma(acc, f, load(s)));
                         });
        u += run;
      }
    }
  }
}

// One tile of sums, transposed to rows of y: scales of tensor or channel, bias, curve, residual.
VL8_INLINE void finish_tile(const MultiplyTask& t, const float* sums, int64_t row, int64_t token) {
  alignas(64) float tile[16][16];
  transpose_tile(sums, 16, &tile[0][0], 16);
  const int64_t rows = min64(16, t.row_end - row), tokens = min64(16, t.tokens - token);
  const WeightRows& w = t.w;
  for (int j = 0; j < 16 && j < rows; j += kWidth) {
    const int64_t n = rows - j, r = row + j;
    F scale = w.scaling == Scaling::channel  ? load_part(w.scale + r, n)
              : w.scaling == Scaling::tensor ? all(w.scale[0])
                                             : all(1.f);
    F bias = t.finish.bias ? load_part(t.finish.bias + r, n) : zero();
    for (int64_t i = 0; i < tokens; ++i) {
      F y = apply_curve(t.finish.curve, fma(load(&tile[i][j]), scale, bias));
      if (t.finish.residual) y = add(y, load_part(t.finish.residual + (token + i) * t.y_stride + r, n));
      store_part(t.y + (token + i) * t.y_stride + r, y, n);
    }
  }
}

template <class Core>
void multiply(const MultiplyTask& t) {
  const int64_t rows = t.row_end - t.row_begin, padded = ceil_div(rows, 16) * 16;
  Core::begin();
  for (int64_t u = 0; u < t.units; u += kChunkUnits) {
    int64_t units = min64(kChunkUnits, t.units - u);
    for (int64_t r = 0; r < padded; ++r) {
      char* to = (char*)t.panel + r / 16 * kPanelChunks * kTileBytes + r % 16 * 64;
      if (r < rows) {
        Core::expand_row(t.w, t.row_begin + r, u * Core::kPerUnit, units, t.round_bf16, to);
      } else {
        for (int64_t c = 0; c < units / 16; ++c) __builtin_memset(to + c * kTileBytes, 0, 64);
      }
    }
    multiply_chunk<Core>(t, u, units, u == 0);
  }
  Core::end();
  for (int64_t g = 0; g * 16 < t.tokens; ++g)
    for (int64_t r = 0; r < rows; r += 16)
      finish_tile(t, t.sums + (g * kTaskRows + r) * 16, t.row_begin + r, g * 16);
}

}  // namespace
}  // namespace vl8::cpu

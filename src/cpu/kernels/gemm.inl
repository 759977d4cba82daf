// Matrix product y = x Wᵀ for one block of weight rows and up to kTaskGroups groups of tokens. The weights of
// the block are expanded, kChunkUnits of K at a time, into a panel that stays in L2 and is used for every token
// of the task; sums live in L2.
namespace vl8::cpu {
namespace {

constexpr int64_t kTaskRows = 128;  // rows of a task of the general product below
constexpr int64_t kTaskGroups = 48;
constexpr int64_t kPanelBytes = kTaskRows * kChunkUnits * 4;

template <class Core>
void pack_tokens(const PackTokens& p) {
  for (int64_t u = 0; u < p.units; u += kChunkUnits) {
    const int64_t column = u * Core::kPerUnit;
    RowSet set;
    set.rows = p.rows;
    for (int64_t i = 0; i < 16; ++i) {
      int64_t r = i < p.rows ? (p.row_index ? p.row_index[i] : i) : 0;
      set.row[i] = p.x + r * p.row_stride + column;
    }
    Core::pack_group(set, p.k - column, min64(kChunkUnits, p.units - u), p.round_bf16,
                     (char*)p.out + u / kChunkUnits * p.chunk_bytes);
  }
}

// Units of K from `unit` that share a block scale, and that scale's column.
template <class Core>
VL8_INLINE int64_t scale_run(const WeightRows& w, int64_t unit, int64_t limit, int64_t* column) {
  if (Core::kFoldsBlockScale || w.scaling != Scaling::block) return limit;
  *column = unit * Core::kPerUnit / w.block_cols;
  return min64(limit, (*column + 1) * w.block_cols / Core::kPerUnit - unit);
}

// Which weight row a row of the panel holds.
struct PanelRow {
  const WeightRows* w;
  int64_t row;
  VL8_INLINE PanelRow of(const MultiplyTask& t, int64_t r) {
    if (!t.gated) return {&t.w, t.row_begin + r};
    return {r / 16 % 2 ? &t.up : &t.w, t.row_begin + r / 32 * 16 + r % 16};
  }
};
VL8_INLINE int64_t panel_tiles(const MultiplyTask& t) {
  return ceil_div(t.row_end - t.row_begin, 16) * (t.gated ? 2 : 1);
}

// One row of the panel, from unit `unit` on; rows beyond the task's become zero.
template <class Core>
VL8_INLINE void expand_panel_row(const MultiplyTask& t, int64_t r, int64_t unit, int64_t units, char* panel) {
  const PanelRow p = PanelRow::of(t, r);
  char* to = panel + r / 16 * kPanelChunks * kTileBytes + r % 16 * 64;
  if (p.row < t.row_end)
    Core::expand_row(*p.w, p.row, unit * Core::kPerUnit, units, t.round_bf16, to);
  else
    for (int64_t c = 0; c < units / 16; ++c) __builtin_memset(to + c * kTileBytes, 0, 64);
}

// Scale of panel tile `tile` (of 16 rows) in scale column `column`; 1 where scales are applied at the end.
template <class Core>
VL8_INLINE float tile_scale(const MultiplyTask& t, int64_t tile, int64_t column) {
  const PanelRow p = PanelRow::of(t, tile * 16);
  if (Core::kFoldsBlockScale || p.w->scaling != Scaling::block) return 1.f;
  return p.w->scale[p.row / p.w->block_rows * ceil_div(p.w->k, p.w->block_cols) + column];
}

// Sums of one chunk of K for all tokens. `first`: sums start here.
template <class Core>
VL8_INLINE void multiply_chunk(const MultiplyTask& t, int64_t unit0, int64_t units, bool first) {
  const int64_t tiles = panel_tiles(t), groups = ceil_div(t.tokens, 16);
  for (int64_t g = 0; g < groups; g += Core::kGroups) {
    int gn = int(min64(Core::kGroups, groups - g));
    const char* x = (const char*)t.x + unit0 / kChunkUnits * t.chunk_bytes + g * kGroupBytes;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const char* panel = (const char*)t.panel + tile * kPanelChunks * kTileBytes;
      float* sums = t.sums + (g * kTaskRows + tile * 16) * 16;
      if constexpr (Core::kFoldsBlockScale) {  // nothing comes between the products: one chain over all of K
        Core::continue_sums(panel, x, kGroupBytes, gn, units, first, sums, kTaskRows * 16);
        continue;
      }
      for (int64_t u = 0; u < units;) {
        int64_t column = 0, run = scale_run<Core>(t.w, unit0 + u, units - u, &column);
        const bool start = first && u == 0;
        const F f = all(tile_scale<Core>(t, tile, column));
        Core::accumulate(panel + u / 16 * kTileBytes, x + u * 64, kGroupBytes, gn, run,
                         [](int, int, int) { return zero(); },
                         [&](int r, int v, int p, F acc) __attribute__((always_inline)) {
                           float* s = sums + (v * kTaskRows + r) * 16 + p * kWidth;
                           store(s, start ? mul(acc, f) : fma(acc, f, load(s)));
                         });
        u += run;
      }
    }
  }
}

// What a vector of sums of rows row.. still lacks where scales are per tensor or channel.
VL8_INLINE F last_scale(const WeightRows& w, int64_t row, int64_t n) {
  if (w.scaling == Scaling::channel) return load_part(w.scale + row, n);
  return all(w.scaling == Scaling::tensor ? w.scale[0] : 1.f);
}

// Finished sums [token][row] of up to 16 tokens and rows to y: scales of tensor or channel, bias, curve, residual;
// gated: silu(sums) * sums of up.
VL8_INLINE void finish_rows(const MultiplyTask& t, const float (*tile)[16], const float (*up)[16], int64_t row,
                            int64_t token) {
  const int64_t rows = min64(16, t.row_end - row), tokens = min64(16, t.tokens - token);
  for (int j = 0; j < 16 && j < rows; j += kWidth) {
    const int64_t n = rows - j, r = row + j;
    const F scale = last_scale(t.w, r, n), up_scale = up ? last_scale(t.up, r, n) : zero(),
            bias = !up && t.finish.bias ? load_part(t.finish.bias + r, n) : zero();
    for (int64_t i = 0; i < tokens; ++i) {
      F y = up ? mul(silu(mul(load(&tile[i][j]), scale)), mul(load(&up[i][j]), up_scale))
               : apply_curve(t.finish.curve, fma(load(&tile[i][j]), scale, bias));
      if (t.finish.residual) y = add(y, load_part(t.finish.residual + (token + i) * t.y_stride + r, n));
      store_part(t.y + (token + i) * t.y_stride + r, y, n);
    }
  }
}

template <class Core>
void multiply(const MultiplyTask& t) {
  const int64_t tiles = panel_tiles(t);
  Core::begin();
  for (int64_t u = 0; u < t.units; u += kChunkUnits) {
    const int64_t units = min64(kChunkUnits, t.units - u);
    for (int64_t r = 0; r < tiles * 16; ++r) expand_panel_row<Core>(t, r, u, units, (char*)t.panel);
    multiply_chunk<Core>(t, u, units, u == 0);
  }
  Core::end();
  alignas(64) float tile[2][16][16];
  const int step = t.gated ? 2 : 1;
  for (int64_t g = 0; g * 16 < t.tokens; ++g)
    for (int64_t i = 0; i < tiles; i += step) {
      for (int s = 0; s < step; ++s)
        transpose_tile(t.sums + (g * kTaskRows + (i + s) * 16) * 16, 16, &tile[s][0][0], 16);
      finish_rows(t, tile[0], t.gated ? tile[1] : nullptr, t.row_begin + i / step * 16, g * 16);
    }
}

}  // namespace
}  // namespace vl8::cpu

// The AMX core: two panel tiles (32 weight rows, keys or features) by two groups (32 tokens) in four tiles of
// sums. Weights are operand A as they lie in the panel, tokens operand B as they lie in the token layout.
namespace vl8::cpu {
namespace {

#ifndef VL8_AMX_PREFETCH
#define VL8_AMX_PREFETCH \
  1  // panel tiles ahead that are fetched from L2 to L1; 0: none. amx_check compares them
#endif
VL8_INLINE void prefetch_tile(const char* p) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) __builtin_prefetch(p + i * 64);
}

template <int T, int V>
VL8_INLINE void amx_step(const char* a, int64_t tile_bytes, const char* b, int64_t group_bytes) {
  if (VL8_AMX_PREFETCH) {
    prefetch_tile(a + VL8_AMX_PREFETCH * kTileBytes);
    if (T == 2) prefetch_tile(a + tile_bytes + VL8_AMX_PREFETCH * kTileBytes);
  }
  tile_load<4>(a, 64);
  tile_load<6>(b, 64);
  tile_multiply<0, 4, 6>();
  if constexpr (V == 2) {
    tile_load<7>(b + group_bytes, 64);
    tile_multiply<1, 4, 7>();
  }
  if constexpr (T == 2) {
    tile_load<5>(a + tile_bytes, 64);
    tile_multiply<2, 5, 6>();
    if constexpr (V == 2) tile_multiply<3, 5, 7>();
  }
}
template <int T, int V>
VL8_INLINE void amx_zero() {
  tile_zero<0>();
  if constexpr (V == 2) tile_zero<1>();
  if constexpr (T == 2) tile_zero<2>();
  if constexpr (T == 2 && V == 2) tile_zero<3>();
}
template <int T, int V>
VL8_INLINE void amx_load(const float* p, int64_t group_stride) {
  tile_load<0>(p, 64);
  if constexpr (V == 2) tile_load<1>(p + group_stride, 64);
  if constexpr (T == 2) tile_load<2>(p + 256, 64);
  if constexpr (T == 2 && V == 2) tile_load<3>(p + 256 + group_stride, 64);
}
// Sums go to [group][row][16].
template <int T, int V>
VL8_INLINE void amx_store(float* p, int64_t group_stride) {
  tile_store<0>(p, 64);
  if constexpr (V == 2) tile_store<1>(p + group_stride, 64);
  if constexpr (T == 2) tile_store<2>(p + 256, 64);
  if constexpr (T == 2 && V == 2) tile_store<3>(p + 256 + group_stride, 64);
}
// Calls work after every step, for what the vector units can do meanwhile.
template <int T, int V, class Work>
VL8_INLINE void amx_run(const char* a, int64_t tile_bytes, const char* b, int64_t group_bytes, int64_t units,
                        Work&& work) {
  for (int64_t u = 0; u < units; u += 16, a += kTileBytes, b += kTileBytes) {
    amx_step<T, V>(a, tile_bytes, b, group_bytes);
    work();
  }
}

// Calls f with the shape as compile-time numbers.
template <int T, int V>
struct AmxShape {
  static constexpr int tiles = T, groups = V;
};
template <class Body>
VL8_INLINE void amx_shape(int tiles, int groups, Body&& f) {
  if (tiles == 2 && groups == 2) return f(AmxShape<2, 2>{});
  if (tiles == 2) return f(AmxShape<2, 1>{});
  if (groups == 2) return f(AmxShape<1, 2>{});
  f(AmxShape<1, 1>{});
}

struct AmxCore : Bf16Units {
  static constexpr int kTiles = 2, kGroups = 2, kStages = 2;
  static constexpr int64_t kUnitAlign = 16;
  VL8_INLINE void begin() { tiles_begin(); }
  VL8_INLINE void end() { tiles_end(); }

  template <class Work>
  VL8_INLINE void store_sums(const char* panel, int64_t tile_bytes, int tiles, const char* x,
                             int64_t group_bytes, int groups, int64_t units, float* out,
                             int64_t group_stride, Work&& work) {
    amx_shape(tiles, groups, [&](auto s) __attribute__((always_inline)) {
      amx_zero<s.tiles, s.groups>();
      amx_run<s.tiles, s.groups>(panel, tile_bytes, x, group_bytes, units, work);
      amx_store<s.tiles, s.groups>(out, group_stride);
    });
  }
  template <class Work>
  VL8_INLINE void add_sums(const char* panel, int64_t tile_bytes, int tiles, const char* x,
                           int64_t group_bytes, int groups, int64_t units, const float (*keep)[16],
                           float* out, int64_t group_stride, Work&& work) {
    for (int v = 0; v < groups; ++v) {
      const F k = load(keep[v]);
      if (_mm512_cmpneq_ps_mask(k, all(1.f)) == 0) continue;  // the usual case: see soften
#pragma GCC unroll 8
      for (int r = 0; r < tiles * 16; ++r)
        store(out + v * group_stride + r * 16, mul(load(out + v * group_stride + r * 16), k));
    }
    amx_shape(tiles, groups, [&](auto s) __attribute__((always_inline)) {
      amx_load<s.tiles, s.groups>(out, group_stride);
      amx_run<s.tiles, s.groups>(panel, tile_bytes, x, group_bytes, units, work);
      amx_store<s.tiles, s.groups>(out, group_stride);
    });
  }
};

// Matrix products. The tile unit takes 16 cycles for a product; all vector work is put behind the tile work of the
// next run, where the core has nothing else to do: sums of the run before are scaled and added, or finished and
// written, and a row of the next chunk of weights is expanded into a second panel. What a run reads: 32 tokens of a
// chunk (16 KB, in L1 for all rows of the task) and 32 rows of the panel (from L2, 32 bytes a cycle at full speed).
constexpr int64_t kAmxRows = 256, kAmxGroups = 32;  // sums of a task: 512 KB of a 2 MB L2
constexpr int64_t kAmxPanel = kAmxRows * kChunkUnits * 4, kAmxPanelBytes = 2 * kAmxPanel;

// Expands the panel of one chunk, a few rows at a time. Past the last chunk it fetches the first chunk of the rows
// that this thread is likely to multiply next.
struct AmxExpand {
  const MultiplyTask& t;
  int64_t rows, unit = 0, at = 0;
  char* panel = nullptr;

  __attribute__((always_inline)) void start(int64_t first_unit, char* to) {
    unit = first_unit, at = 0, panel = to;
  }
  void fetch(int64_t r) const {
    const PanelRow p = PanelRow::of(t, r);
    const int64_t row = t.next_row + p.row - t.row_begin, bytes = t.w.type >= Number::e4m3 ? 1 : 2;
    if (t.next_row < 0 || row >= p.w->rows) return;
    const char* from = (const char*)p.w->data + row * p.w->k * bytes;
    for (int64_t i = 0; i < min64(p.w->k, kChunkUnits * 2) * bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
  }
  void advance(int64_t n) {
    for (; n > 0 && at < rows; --n, ++at)
      if (unit < t.units)
        expand_panel_row<AmxCore>(t, at, unit, min64(kChunkUnits, t.units - unit), panel);
      else
        fetch(at);
  }
};

// Finished tiles of a run on their way from a buffer to the task's sums, or, after the last run, to y.
struct AmxPending {
  const float* from = nullptr;  // [group][tile][16 rows][16]
  int64_t group, tile;
  float scale[2];
  bool start, last;
  int tiles, groups;

  __attribute__((always_inline)) void add(const MultiplyTask& t) const {
    for (int i = 0; i < tiles; ++i)
      for (int v = 0; v < groups; ++v) {
        float* s = t.sums + ((group + v) * kAmxRows + (tile + i) * 16) * 16;
        const F f = all(scale[i]);
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
          F x = load(from + (v * 2 + i) * 256 + r * 16);
          store(s + r * 16, start ? mul(x, f) : fma(x, f, load(s + r * 16)));
        }
      }
  }
  void finish(const MultiplyTask& t) const {
    alignas(64) float y[2][16][16];
    for (int v = 0; v < groups; ++v) {
      for (int i = 0; i < tiles; ++i) {
        const float* s = t.sums + ((group + v) * kAmxRows + (tile + i) * 16) * 16;
        const F f = all(scale[i]);
        __m512i x[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
          F p = load(from + (v * 2 + i) * 256 + r * 16);
          x[r] = _mm512_castps_si512(start ? mul(p, f) : fma(p, f, load(s + r * 16)));
        }
        transpose(x);
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) _mm512_store_si512(y[i][r], x[r]);
      }
      const int64_t token = (group + v) * 16;
      if (t.gated) {
        finish_rows(t, y[0], y[1], t.row_begin + tile / 2 * 16, token);
      } else {
        for (int i = 0; i < tiles; ++i) finish_rows(t, y[i], nullptr, t.row_begin + (tile + i) * 16, token);
      }
    }
  }
  __attribute__((always_inline)) void flush(const MultiplyTask& t) const {
    if (!from) return;
    if (last) return finish(t);
    add(t);
  }
};

static void amx_multiply(const MultiplyTask& t) {
  const int64_t tiles = panel_tiles(t), groups = ceil_div(t.tokens, 16);
  char* panels = (char*)t.panel;
  AmxExpand ahead{t, tiles * 16};
  ahead.start(0, panels);
  ahead.advance(tiles * 16);
  alignas(64) float buffer[2][2 * 2 * 256];
  AmxPending pending;
  int turn = 0;
  tiles_begin();
  for (int64_t unit0 = 0, c = 0; unit0 < t.units; unit0 += kChunkUnits, ++c) {
    const int64_t units = min64(kChunkUnits, t.units - unit0);
    int64_t column = 0;
    const int64_t runs = ceil_div(units, scale_run<AmxCore>(t.w, unit0, units, &column)),
                  steps = ceil_div(tiles, 2) * ceil_div(groups, 2) * runs,
                  rows_a_run = ceil_div(tiles * 16, steps),
                  lines_a_step = ceil_div(2 * kGroupBytes / 64, ceil_div(tiles, 2) * (units / 16));
    ahead.start(unit0 + kChunkUnits, panels + (c + 1) % 2 * kAmxPanel);
    for (int64_t g = 0; g < groups; g += 2) {
      const char* tokens = (const char*)t.x + c * t.chunk_bytes + g * kGroupBytes;
      const char* next = tokens + 2 * kGroupBytes;  // the next 32 tokens, or 0..31 of the next chunk
      for (int64_t tile = 0; tile < tiles; tile += 2) {
        const int gn = int(min64(2, groups - g)), tn = int(min64(2, tiles - tile));
        for (int64_t u = 0; u < units;) {
          const int64_t run = scale_run<AmxCore>(t.w, unit0 + u, units - u, &column);
          const char* a = panels + c % 2 * kAmxPanel + (tile * kPanelChunks + u / 16) * kTileBytes;
          amx_shape(tn, gn, [&](auto s) __attribute__((always_inline)) {
            amx_zero<s.tiles, s.groups>();
            for (int64_t i = 0; i < run; i += 16) {
              amx_step<s.tiles, s.groups>(a + i / 16 * kTileBytes, kPanelChunks * kTileBytes,
                                          tokens + (u + i) * 64, kGroupBytes);
              for (int64_t l = 0; l < lines_a_step; ++l, next += 64) __builtin_prefetch(next, 0, 2);
            }
            pending.flush(t);
            ahead.advance(rows_a_run);
            amx_store<s.tiles, s.groups>(buffer[turn], 512);
          });
          pending = {buffer[turn],
                     g,
                     tile,
                     {tile_scale<AmxCore>(t, tile, column), tn == 2 ? tile_scale<AmxCore>(t, tile + 1, column) : 1.f},
                     unit0 + u == 0,
                     unit0 + u + run >= t.units,
                     tn,
                     gn};
          turn ^= 1;
          u += run;
        }
      }
    }
    ahead.advance(tiles * 16);
  }
  pending.flush(t);
  tiles_end();
}

// Register peak: four independent sums, operands loaded once.
static double amx_peak(int64_t rounds) {
  alignas(64) uint8_t zeros[1024] = {};
  tiles_begin();
  tile_load<4>(zeros, 64), tile_load<5>(zeros, 64), tile_load<6>(zeros, 64), tile_load<7>(zeros, 64);
  tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
  for (int64_t r = 0; r < rounds; ++r) {
    tile_multiply<0, 4, 6>(), tile_multiply<1, 4, 7>();
    tile_multiply<2, 5, 6>(), tile_multiply<3, 5, 7>();
  }
  tiles_end();
  return double(rounds) * 4 * 16 * 16 * 32 * 2;
}

}  // namespace
}  // namespace vl8::cpu

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
template <int T, int V>
VL8_INLINE void amx_run(const char* a, int64_t tile_bytes, const char* b, int64_t group_bytes,
                        int64_t units) {
  for (int64_t u = 0; u < units; u += 16, a += kTileBytes, b += kTileBytes)
    amx_step<T, V>(a, tile_bytes, b, group_bytes);
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
  static constexpr int kTiles = 2, kGroups = 2;
  static constexpr int64_t kUnitAlign = 16;
  VL8_INLINE void begin() { tiles_begin(); }
  VL8_INLINE void end() { tiles_end(); }

  VL8_INLINE void store_sums(const char* panel, int64_t tile_bytes, int tiles, const char* x,
                             int64_t group_bytes, int groups, int64_t units, float* out,
                             int64_t group_stride) {
    amx_shape(tiles, groups, [&](auto s) __attribute__((always_inline)) {
      amx_zero<s.tiles, s.groups>();
      amx_run<s.tiles, s.groups>(panel, tile_bytes, x, group_bytes, units);
      amx_store<s.tiles, s.groups>(out, group_stride);
    });
  }
  VL8_INLINE void add_sums(const char* panel, int64_t tile_bytes, int tiles, const char* x,
                           int64_t group_bytes, int groups, int64_t units, const float (*keep)[16],
                           float* out, int64_t group_stride) {
    for (int v = 0; v < groups; ++v) {
      const F k = load(keep[v]);
      if (_mm512_cmpneq_ps_mask(k, all(1.f)) == 0) continue;  // the usual case: see soften
#pragma GCC unroll 8
      for (int r = 0; r < tiles * 16; ++r)
        store(out + v * group_stride + r * 16, mul(load(out + v * group_stride + r * 16), k));
    }
    amx_shape(tiles, groups, [&](auto s) __attribute__((always_inline)) {
      amx_load<s.tiles, s.groups>(out, group_stride);
      amx_run<s.tiles, s.groups>(panel, tile_bytes, x, group_bytes, units);
      amx_store<s.tiles, s.groups>(out, group_stride);
    });
  }
};

// Finished tiles of sums on their way from a buffer to the task's sums.
struct AmxPending {
  const float* from = nullptr;  // [group][tile][16 rows][16]
  float* to;
  float scale[2];
  bool start;
  int tiles, groups;

  __attribute__((always_inline)) void flush() const {
    if (!from) return;
    for (int i = 0; i < tiles; ++i)
      for (int v = 0; v < groups; ++v) {
        float* s = to + (v * kTaskRows + i * 16) * 16;
        const F f = all(scale[i]);
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
          F x = load(from + (v * 2 + i) * 256 + r * 16);
          store(s + r * 16, start ? mul(x, f) : fma(x, f, load(s + r * 16)));
        }
      }
  }
};

// As the general one, with the vector work of a run put behind the tile work of the next: the tile unit takes
// 16 cycles for a product, in which the core scales and adds the sums before.
template <>
inline __attribute__((always_inline)) void multiply_chunk<AmxCore>(const MultiplyTask& t, int64_t unit0,
                                                                   int64_t units, bool first) {
  const int64_t tiles = ceil_div(t.row_end - t.row_begin, 16), groups = ceil_div(t.tokens, 16),
                group_bytes = t.units * 64;
  alignas(64) float buffer[2][2 * 2 * 256];
  AmxPending pending;
  int turn = 0;
  for (int64_t g = 0; g < groups; g += 2)
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      const int gn = int(min64(2, groups - g)), tn = int(min64(2, tiles - tile));
      for (int64_t u = 0; u < units;) {
        int64_t column = 0, run = scale_run<AmxCore>(t.w, unit0 + u, units - u, &column);
        const char* a = (const char*)t.panel + (tile * kPanelChunks + u / 16) * kTileBytes;
        const char* b = (const char*)t.x + g * group_bytes + (unit0 + u) * 64;
        amx_shape(tn, gn, [&](auto s) __attribute__((always_inline)) {
          amx_zero<s.tiles, s.groups>();
          amx_run<s.tiles, s.groups>(a, kPanelChunks * kTileBytes, b, group_bytes, run);
          pending.flush();
          amx_store<s.tiles, s.groups>(buffer[turn], 512);
        });
        pending = {
            buffer[turn],
            t.sums + (g * kTaskRows + tile * 16) * 16,
            {tile_scale<AmxCore>(t, tile, column), tn == 2 ? tile_scale<AmxCore>(t, tile + 1, column) : 1.f},
            first && u == 0,
            tn,
            gn};
        turn ^= 1;
        u += run;
      }
    }
  pending.flush();
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

// The micro-kernel: 16-row panel tiles times groups of 16 tokens. Panel elements are broadcast, tokens are
// lanes, so weights, keys and values are used in the order in which they lie in memory.
namespace vl8::cpu {
namespace {

constexpr int kParts = 16 / kWidth;  // vectors of a group

// R rows by V groups, onto what acc holds. Op::mac(acc, w, x) adds the product of one unit: each sum is one chain in
// the order of the units.
template <class Op, int R, int V>
VL8_INLINE void multiply_units(const char* w, const char* x, int64_t group_bytes, int64_t units,
                               F (&acc)[R][V * kParts]) {
  for (int64_t c = 0; c < units; c += 16, w += kTileBytes) {
    int64_t n = units - c < 16 ? units - c : 16;
#pragma GCC unroll 4
    for (int64_t u = 0; u < n; ++u, x += 64) {
      F xv[V * kParts];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v)
#pragma GCC unroll 2
        for (int p = 0; p < kParts; ++p)
          xv[v * kParts + p] = load((const float*)(x + v * group_bytes) + p * kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        F b = broadcast(w + r * 64 + u * 4);
#pragma GCC unroll 8
        for (int v = 0; v < V * kParts; ++v) acc[r][v] = Op::mac(acc[r][v], b, xv[v]);
      }
    }
  }
}

// Rows R0.. of one panel tile; start(row, group, part) is what a sum starts from, sink(row, group, part, sum) takes it.
template <class Op, int R0, int R, int V, class Start, class Sink>
VL8_INLINE void multiply_rows(const char* w, const char* x, int64_t group_bytes, int64_t units, Start&& start,
                              Sink&& sink) {
  F acc[R][V * kParts];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V * kParts; ++v) acc[r][v] = start(R0 + r, v / kParts, v % kParts);
  multiply_units<Op, R, V>(w + R0 * 64, x, group_bytes, units, acc);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V * kParts; ++v) sink(R0 + r, v / kParts, v % kParts, acc[r][v]);
}

struct FmaOp {
  static constexpr int kPerLane = 1;  // products of one instruction in a lane
  VL8_INLINE F mac(F acc, F w, F x) { return fma(w, x, acc); }
};

// A core = units of a matrix and how to multiply them. kGroups, kTiles: most groups and panel tiles at once.
template <class Units, class Op>
struct VectorCore : Units {
  static constexpr int kTiles = 1, kStages = 1;
  static constexpr int kGroups = kWidth == 16 && kWide ? 3 : 1;
  static constexpr int64_t kUnitAlign = 1;
  VL8_INLINE void begin() {}
  VL8_INLINE void end() {}

  template <class Start, class Sink>
  VL8_INLINE void accumulate(const char* panel, const char* x, int64_t group_bytes, int groups, int64_t units,
                             Start&& start, Sink&& sink) {
    if constexpr (kGroups == 3) {
      if (groups == 3) {
        multiply_rows<Op, 0, 8, 3>(panel, x, group_bytes, units, start, sink);
        multiply_rows<Op, 8, 8, 3>(panel, x, group_bytes, units, start, sink);
      } else if (groups == 2) {
        multiply_rows<Op, 0, 8, 2>(panel, x, group_bytes, units, start, sink);
        multiply_rows<Op, 8, 8, 2>(panel, x, group_bytes, units, start, sink);
      } else {
        multiply_rows<Op, 0, 16, 1>(panel, x, group_bytes, units, start, sink);
      }
    } else if constexpr (kParts == 2) {  // 16 vector registers: 6 x 2 sums
      multiply_rows<Op, 0, 6, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 6, 6, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 12, 4, 1>(panel, x, group_bytes, units, start, sink);
    } else {
      multiply_rows<Op, 0, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 2, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 4, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 6, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 8, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 10, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 12, 2, 1>(panel, x, group_bytes, units, start, sink);
      multiply_rows<Op, 14, 2, 1>(panel, x, group_bytes, units, start, sink);
    }
  }

  // out [group][row][16] = sums; out = out * keep [group][16] + sums; and out continued as one chain. group_stride in
  // floats.
  VL8_INLINE void store_sums(const char* panel, int64_t /*tile_bytes*/, int /*tiles*/, const char* x,
                             int64_t group_bytes, int groups, int64_t units, float* out, int64_t group_stride) {
    accumulate(panel, x, group_bytes, groups, units, [](int, int, int) { return zero(); },
               [&](int r, int v, int part, F acc) __attribute__((always_inline)) {
                 store(out + v * group_stride + r * 16 + part * kWidth, acc);
               });
  }
  VL8_INLINE void add_sums(const char* panel, int64_t /*tile_bytes*/, int /*tiles*/, const char* x,
                           int64_t group_bytes, int groups, int64_t units, const float (*keep)[16], float* out,
                           int64_t group_stride) {
    accumulate(panel, x, group_bytes, groups, units, [](int, int, int) { return zero(); },
               [&](int r, int v, int part, F acc) __attribute__((always_inline)) {
                 float* to = out + v * group_stride + r * 16 + part * kWidth;
                 store(to, fma(load(to), load(keep[v] + part * kWidth), acc));
               });
  }
  VL8_INLINE void continue_sums(const char* panel, const char* x, int64_t group_bytes, int groups, int64_t units,
                                bool first, float* out, int64_t group_stride) {
    accumulate(panel, x, group_bytes, groups, units,
               [&](int r, int v, int part) __attribute__((always_inline)) {
                 return first ? zero() : load(out + v * group_stride + r * 16 + part * kWidth);
               },
               [&](int r, int v, int part, F acc) __attribute__((always_inline)) {
                 store(out + v * group_stride + r * 16 + part * kWidth, acc);
               });
  }
};

using ExactCore = VectorCore<F32Units, FmaOp>;

}  // namespace
}  // namespace vl8::cpu

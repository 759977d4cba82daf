// Data movement into the shared layouts (table.h) for f32 units; the bf16 units have their own in
// pack_bf16.inl.
namespace vl8::cpu {
namespace {

constexpr int64_t kTileBytes = 16 * 16 * 4;
constexpr int64_t kPanelChunks = kChunkUnits / 16;  // tiles of a panel row

VL8_INLINE int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}
template <Number N>
constexpr int64_t number_bits() {
  return N == Number::f32 ? 32 : N == Number::f16 || N == Number::bf16 ? 16 : N == Number::i4 || N == Number::e2m1 ? 4 : 8;
}
// Byte offset of an element; four-bit elements are only asked for at even indexes.
template <Number N>
VL8_INLINE int64_t byte_of(int64_t element) {
  return element * number_bits<N>() / 8;
}
VL8_INLINE int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Scales along one weight row: of its blocks or its groups.
struct RowScale {
  const float* f32;
  const uint16_t* bf16;
  VL8_INLINE RowScale of(const WeightRows& w, int64_t row) {
    if (w.scaling == Scaling::block) return {w.scale + row / w.block_rows * ceil_div(w.k, w.block_cols), nullptr};
    if (w.scaling != Scaling::group) return {nullptr, nullptr};
    const int64_t at = row * (w.k / w.block_cols);
    if (w.scale) return {w.scale + at, nullptr};
    return {nullptr, w.scale_bf16 + at};
  }
  __attribute__((always_inline)) float at(int64_t i) const {
    if (f32) return f32[i];
    const uint32_t bits = uint32_t(bf16[i]) << 16;
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
  }
};

// Up to 16 rows of a matrix of floats, each with its own address.
struct RowSet {
  const float* row[16];
  int64_t rows;
};

// One tile of a group: 16 units of every row, zeros beyond rows and k.
VL8_INLINE void gather_tile(const RowSet& s, int64_t k0, int64_t k, bool round, float (&tile)[16][16]) {
  for (int64_t i = 0; i < 16; ++i)
    for (int j = 0; j < 16; j += kWidth) {
      F x = i < s.rows && k0 + j < k ? load_part(s.row[i] + k0 + j, k - k0 - j) : zero();
      store(&tile[i][j], round ? round_bf16(x) : x);
    }
}

struct F32Units {
  static constexpr int64_t kPerUnit = 1;
  static constexpr int kExpDegree = 5;  // of the exponential in attention

  // Token layout of one group; `units` may end inside a tile.
  static void pack_group(const RowSet& s, int64_t k, int64_t units, bool round, void* out) {
    alignas(64) float tile[16][16];
    for (int64_t u = 0; u < units; u += 16) {
      gather_tile(s, u, k, round, tile);
      float* to = (float*)out + u * 16;
      if (units - u >= 16) {
        transpose_tile(&tile[0][0], 16, to, 16);
      } else {
        for (int64_t j = 0; j < units - u; ++j)
          for (int i = 0; i < 16; ++i) to[j * 16 + i] = tile[i][j];
      }
    }
  }

  // One weight row, `units` (multiple of 16) from column k0, into its place in the panel. Block scales are
  // folded in.
  template <Number N>
  static void expand_row(const WeightRows& w, int64_t row, int64_t k0, int64_t units, bool round, char* to) {
    int64_t at = row * w.k;
    const bool block = w.scaling == Scaling::block || w.scaling == Scaling::group;
    const RowScale scales = RowScale::of(w, row);
    bool whole = block && w.block_cols % 16 == 0 && k0 % 16 == 0;
    for (int64_t c = 0; c < units; c += 16, to += kTileBytes) {
      // The same columns of the next chunk, to L2: it is needed when this chunk has been multiplied.
      __builtin_prefetch((const char*)w.data + byte_of<N>(at + k0 + c + kChunkUnits), 0, 2);
      for (int j = 0; j < 16; j += kWidth) {
        int64_t col = k0 + c + j, left = w.k - col;
        F x = left >= kWidth ? load_number<N>(w.data, at + col)
              : left > 0     ? load_number_part<N>(w.data, at + col, left)
                             : zero();
        if (round && (N == Number::f32 || N == Number::f16)) x = round_bf16(x);
        if (whole && left > 0) x = mul(x, all(scales.at(col / w.block_cols)));
        store((float*)to + j, x);
      }
      if (block && !whole)
        for (int64_t j = 0; j < 16 && k0 + c + j < w.k; ++j)
          ((float*)to)[j] *= scales.at((k0 + c + j) / w.block_cols);
    }
  }
  static void expand_row(const WeightRows& w, int64_t row, int64_t k0, int64_t units, bool round, char* to) {
    switch (w.type) {
      case Number::f32:
        return expand_row<Number::f32>(w, row, k0, units, round, to);
      case Number::f16:
        return expand_row<Number::f16>(w, row, k0, units, round, to);
      case Number::bf16:
        return expand_row<Number::bf16>(w, row, k0, units, round, to);
      case Number::e4m3:
        return expand_row<Number::e4m3>(w, row, k0, units, round, to);
      case Number::e5m2:
        return expand_row<Number::e5m2>(w, row, k0, units, round, to);
      case Number::i8:
        return expand_row<Number::i8>(w, row, k0, units, round, to);
      case Number::i4:
        return expand_row<Number::i4>(w, row, k0, units, round, to);
      case Number::e2m1:
        return expand_row<Number::e2m1>(w, row, k0, units, round, to);
    }
  }
  static constexpr bool kFoldsBlockScale = true;

  // A key (or any vector of d numbers) as a panel row.
  static void key_row(const void* data, bool bf16, int64_t d, int64_t units, char* to) {
    for (int64_t c = 0; c < units; c += 16, to += kTileBytes)
      for (int j = 0; j < 16; j += kWidth) {
        int64_t left = d - c - j;
        F x = left <= 0 ? zero()
              : bf16    ? load_number_part<Number::bf16>(data, c + j, left)
                        : load_part((const float*)data + c + j, left);
        store((float*)to + j, x);
      }
  }
  // Tile of values: 16 features from d0 of `keys` keys (at most 16) as panel rows; units are keys.
  static void value_tile(const void* const* rows, bool bf16, int64_t keys, int64_t d0, int64_t d, char* to) {
    alignas(64) float tile[16][16];
    for (int64_t i = 0; i < 16; ++i)
      for (int j = 0; j < 16; j += kWidth) {
        int64_t left = d - d0 - j;
        F x = i >= keys || left <= 0 ? zero()
              : bf16                 ? load_number_part<Number::bf16>(rows[i], d0 + j, left)
                                     : load_part((const float*)rows[i] + d0 + j, left);
        store(&tile[i][j], x);
      }
    transpose_tile(&tile[0][0], 16, (float*)to, 16);
  }
  // Probabilities of keys j and j + 1 for one vector of rows.
  VL8_INLINE void store_pair(float* probs, int64_t j, F a, F b) {
    store(probs + j * 16, a);
    store(probs + j * 16 + 16, b);
  }
};

}  // namespace
}  // namespace vl8::cpu

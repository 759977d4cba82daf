// Tile registers of AMX: eight tiles of 16 rows x 64 bytes. With VL8_EMULATE_TILES the same calls run in
// software, so that the whole AMX path is tested on any AVX-512 BF16 machine (tests/cpu). Units of A and B
// are bf16 pairs.
namespace vl8::cpu {
namespace {

#ifndef VL8_EMULATE_TILES

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constinit const TileConfig kTileConfig{};

// NOTE: own assembly instead of the GCC 12 intrinsics: their _tile_loadconfig tells the compiler of 8 bytes
// only, so it may drop stores to the rest, and their tile loads and stores do not say that they touch memory.
VL8_INLINE void tiles_begin() {
  __asm__ volatile("ldtilecfg %0" ::"m"(kTileConfig) : "memory");
}
VL8_INLINE void tiles_end() {
  __asm__ volatile("tilerelease" ::: "memory");
}
template <int I>
VL8_INLINE void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(I));
}
template <int I>
VL8_INLINE void tile_load(const void* p, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(I) : "memory");
}
template <int I>
VL8_INLINE void tile_store(void* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(I) : "memory");
}
// C[m][n] += sum over k of A[m][k] . B[k][n], a unit being two bf16.
template <int C, int A, int B>
VL8_INLINE void tile_multiply() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#else

struct SoftTiles {
  alignas(64) uint32_t t[8][16][16];
  bool ready;
};
static thread_local SoftTiles soft;

VL8_INLINE void tiles_begin() {
  __builtin_memset(soft.t, 0, sizeof soft.t);
  soft.ready = true;
}
VL8_INLINE void tiles_end() {
  soft.ready = false;
}
VL8_INLINE void need_tiles() {
  if (!soft.ready) __builtin_trap();
}  // hardware faults on an unconfigured tile
template <int I>
VL8_INLINE void tile_zero() {
  need_tiles();
  __builtin_memset(soft.t[I], 0, 1024);
}
template <int I>
VL8_INLINE void tile_load(const void* p, int64_t stride) {
  need_tiles();
  for (int r = 0; r < 16; ++r) __builtin_memcpy(soft.t[I][r], (const char*)p + r * stride, 64);
}
template <int I>
VL8_INLINE void tile_store(void* p, int64_t stride) {
  need_tiles();
  for (int r = 0; r < 16; ++r) __builtin_memcpy((char*)p + r * stride, soft.t[I][r], 64);
}
// Denormal inputs and results count as zero, as in the hardware.
VL8_INLINE float flush(float x) {
  return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.f, x) : x;
}
VL8_INLINE float half_of(uint32_t unit, int odd) {
  uint32_t bits = odd ? unit & 0xffff0000u : unit << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return flush(x);
}
// Even and odd elements are summed apart over the tile's K and joined at the end (Intel SDM, TDPBF16PS).
template <int C, int A, int B>
VL8_INLINE void tile_multiply() {
  need_tiles();
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      float even = 0, odd = 0, c;
      for (int k = 0; k < 16; ++k) {
        even = flush(__builtin_fmaf(half_of(soft.t[A][m][k], 0), half_of(soft.t[B][k][n], 0), even));
        odd = flush(__builtin_fmaf(half_of(soft.t[A][m][k], 1), half_of(soft.t[B][k][n], 1), odd));
      }
      __builtin_memcpy(&c, &soft.t[C][m][n], 4);
      c = flush(c + flush(even + odd));
      __builtin_memcpy(&soft.t[C][m][n], &c, 4);
    }
}

#endif

}  // namespace
}  // namespace vl8::cpu

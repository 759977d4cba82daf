// The instructions of cuda/sm90/ptx.cuh on the CPU: tensor copies with the 128-byte swizzle, mbarriers and warpgroup products
// as the PTX ISA defines them, for clusters of one block. Copies and products finish at once, so an order that only
// asynchrony would break is not tested here.
#pragma once
#include <cuda.h>

#include <array>

#include "core/dtype.h"
#include "core/error.h"
#include "cuda/emulate/emulate.h"
#include "cuda/gemm.h"

#define __CUDA_ARCH_FEAT_SM90_ALL 1

namespace vl8::cuda::sm90 {

constexpr uint64_t kEvictFirst = 0, kEvictNormal = 0, kEvictLast = 0;

// What emulated matrix_map writes into the opaque descriptor.
struct EmulatedMap {
  const char* data;
  int64_t rows, row_bytes, stride_bytes;
  int box_rows, box_bytes, element_bytes, swizzle;
  int64_t middle = 1;  // of a 3-D map
};
static_assert(sizeof(EmulatedMap) <= sizeof(CUtensorMap));

struct EmulatedBarrier {  // in the 8 bytes of an mbarrier
  int32_t bytes;          // still to come
  int16_t count : 12, phase : 2, pending : 12;
};
static_assert(sizeof(EmulatedBarrier) <= 8);

inline uint32_t shared_address(const void* p) { return uint32_t(reinterpret_cast<uintptr_t>(p)); }
inline uint32_t cluster_rank() { return 0; }
inline void cluster_sync() { fail(ErrorKind::internal, "clusters are not emulated"); }
inline void named_barrier(int id, int threads) { emulate::named_barrier(id, threads); }
inline void named_barrier_arrive(int, int) { fail(ErrorKind::internal, "arriving without waiting is not emulated"); }

inline EmulatedBarrier& emulated(uint64_t* bar) { return *reinterpret_cast<EmulatedBarrier*>(bar); }
inline void barrier_init(uint64_t* bar, uint32_t arrivals) { emulated(bar) = {0, int16_t(arrivals), 0, int16_t(arrivals)}; }
inline void barrier_init_fence() {}
inline void complete_if_done(EmulatedBarrier& b) {
  if (b.pending == 0 && b.bytes == 0) b.phase = int16_t(!b.phase), b.pending = b.count;
}
inline void barrier_arrive(uint64_t* bar) {
  check(emulated(bar).pending > 0, "an mbarrier is arrived at more often than it was initialised for");
  --emulated(bar).pending;
  complete_if_done(emulated(bar));
}
inline void barrier_arrive_expect(uint64_t* bar, uint32_t bytes) {
  emulated(bar).bytes += int32_t(bytes);
  barrier_arrive(bar);
}
inline void barrier_arrive_remote(uint64_t* bar, uint32_t) { barrier_arrive(bar); }
inline void barrier_wait(uint64_t* bar, uint32_t parity) {
  while ((emulated(bar).phase != 0) == (parity != 0)) emulate::yield();
}
inline void barrier_wait_cluster(uint64_t* bar, uint32_t parity) { barrier_wait(bar, parity); }

inline void tma_prefetch(const CUtensorMap*) {}
inline void tma_load(void* to, const CUtensorMap* map, uint64_t* bar, int column, int row, uint64_t) {
  const EmulatedMap& m = *reinterpret_cast<const EmulatedMap*>(map);
  uintptr_t base = reinterpret_cast<uintptr_t>(to);
  check(base % (m.swizzle ? 1024 : 128) == 0, "tensor copy to a misaligned address");
  check(int64_t(column) * m.element_bytes % 16 == 0, "a tensor copy must start at a multiple of 16 bytes of a row");
  for (int r = 0; r < m.box_rows; ++r)
    for (int b = 0; b < m.box_bytes; ++b) {
      int64_t from_row = row + r, from_byte = int64_t(column) * m.element_bytes + b;
      bool inside = from_row >= 0 && from_row < m.rows && from_byte < m.row_bytes;
      uintptr_t at = base + uintptr_t(r) * uintptr_t(m.box_bytes) + uintptr_t(b);
      if (m.swizzle) at ^= ((at >> 7) & 7) << 4;
      *reinterpret_cast<char*>(at) = inside ? m.data[from_row * m.stride_bytes + from_byte] : 0;
    }
  emulated(bar).bytes -= m.box_rows * m.box_bytes;
  complete_if_done(emulated(bar));
}
// Boxes of one middle index: rows of the last dimension, box_bytes of the first. heads_map fills these.
inline void tma_load_3d(void* to, const CUtensorMap* map, uint64_t* bar, int x, int y, int z) {
  const EmulatedMap& m = *reinterpret_cast<const EmulatedMap*>(map);
  uintptr_t base = reinterpret_cast<uintptr_t>(to);
  check(base % 1024 == 0, "tensor copy to a misaligned address");
  for (int r = 0; r < m.box_rows; ++r)
    for (int b = 0; b < m.box_bytes; ++b) {
      int64_t row = z + r, byte = int64_t(x) * m.element_bytes + b;
      bool inside = row >= 0 && row < m.rows && byte < m.row_bytes && y >= 0 && y < m.middle;
      uintptr_t at = base + uintptr_t(r) * uintptr_t(m.box_bytes) + uintptr_t(b);
      at ^= ((at >> 7) & 7) << 4;
      *reinterpret_cast<char*>(at) = inside ? m.data[row * m.stride_bytes + y * m.row_bytes + byte] : 0;
    }
  emulated(bar).bytes -= m.box_rows * m.box_bytes;
  complete_if_done(emulated(bar));
}
inline void tma_load_multicast(void*, const CUtensorMap*, uint64_t*, int, int, uint16_t, uint64_t) { cluster_sync(); }

template <int>
void registers_raise() {}
template <int>
void registers_lower() {}

inline float exp2_fast(float x) { return std::exp2(x); }
inline uint64_t matrix_descriptor(const void* tile) {
  check(reinterpret_cast<uintptr_t>(tile) % 1024 == 0, "a wgmma operand must start at a multiple of 1024 bytes");
  return reinterpret_cast<uintptr_t>(tile) >> 4;
}
// Address and, above it, the distance of the chunks of 64 columns.
inline uint64_t column_descriptor(const void* tile, int chunk_bytes) {
  return (matrix_descriptor(tile) & 0xfffffffffffull) | uint64_t(chunk_bytes >> 4) << 44;
}
inline void wgmma_fence() {}
inline void wgmma_commit() {}
template <int>
void wgmma_wait() {}
inline void pin(float&) {}
inline void pin(uint32_t&) {}

inline const float* emulated_e4m3() {
  static const auto table = [] {
    std::array<float, 256> t;
    for (int i = 0; i < 256; ++i) t[size_t(i)] = vl8::e4m3_to_f32(uint8_t(i));
    return t;
  }();
  return table.data();
}

template <Format F, int N>
struct Wgmma {
  static float element(uint64_t descriptor, int row, int i) {
    uintptr_t at = (descriptor << 4) + uintptr_t(row) * 128 + uintptr_t(i) * (F == Format::e4m3 ? 1 : 2);
    at ^= ((at >> 7) & 7) << 4;
    if (F == Format::e4m3) return emulated_e4m3()[*reinterpret_cast<const uint8_t*>(at)];
    return bf16_to_f32(*reinterpret_cast<const uint16_t*>(at));
  }
  static void run(float (&d)[N / 2], uint64_t a, uint64_t b, int add) {
    constexpr int depth = F == Format::e4m3 ? 32 : 16;
    int lane = emulate::lane(), warp = int(threadIdx.x) / 32 % 4;
    float rows[2][depth];
    for (int h = 0; h < 2; ++h)
      for (int k = 0; k < depth; ++k) rows[h][k] = element(a, warp * 16 + lane / 4 + 8 * h, k);
    for (int j = 0; j < N / 8; ++j)
      for (int c = 0; c < 2; ++c) {
        float column[depth];
        for (int k = 0; k < depth; ++k) column[k] = element(b, 8 * j + 2 * (lane % 4) + c, k);
        for (int h = 0; h < 2; ++h) {
          float& out = d[4 * j + 2 * h + c];
          if (!add) out = 0;
          for (int k = 0; k < depth; ++k) out += rows[h][k] * column[k];
        }
      }
  }
};

template <int N>
struct WgmmaValues {
  static void run(float (&d)[N / 2], const uint32_t* a, uint64_t b) {
    uint32_t own[4] = {a[0], a[1], a[2], a[3]};
    auto slots = emulate::exchange(own, sizeof own);
    int lane = emulate::lane(), g = lane / 4, t = lane % 4;
    float rows[2][16];
    for (int h = 0; h < 2; ++h)
      for (int k = 0; k < 16; ++k) {
        uint32_t r;
        std::memcpy(&r, slots[4 * g + k % 8 / 2] + 4 * (h + 2 * (k / 8)), 4);
        rows[h][k] = bf16_to_f32(uint16_t(r >> (16 * (k % 2))));
      }
    uintptr_t base = (b & 0xfffffffffffull) << 4, chunk = uintptr_t(b >> 44) << 4;
    for (int j = 0; j < N / 8; ++j)
      for (int c = 0; c < 2; ++c) {
        int column = 8 * j + 2 * t + c;
        for (int k = 0; k < 16; ++k) {
          uintptr_t at = base + uintptr_t(column / 64) * chunk + uintptr_t(k / 8) * 1024 + uintptr_t(k % 8) * 128 + uintptr_t(column % 64) * 2;
          at ^= ((at >> 7) & 7) << 4;
          float v = bf16_to_f32(*reinterpret_cast<const uint16_t*>(at));
          for (int h = 0; h < 2; ++h) d[4 * j + 2 * h + c] += rows[h][k] * v;
        }
      }
  }
};

}  // namespace vl8::cuda::sm90

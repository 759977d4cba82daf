// The instructions of compute capability 8.0 and up that CUDA C++ has no name for (PTX ISA: mma.m16n8k16, ldmatrix,
// cp.async), and what they do where kernels are emulated on the CPU.
#pragma once
#include <cstdint>

#include "cuda/device_math.cuh"

namespace vl8::cuda::sm80 {

#ifndef VL8_CUDA_EMULATION

__device__ __forceinline__ uint32_t shared_pointer(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

// d [16, 8] += a [16, 16] b [16, 8]. With g = lane / 4, t = lane % 4: d[0..1] is row g, columns 2t, 2t + 1, d[2..3] row g + 8.
// a[0] holds row g, k 2t, 2t + 1; a[1] row g + 8; a[2], a[3] the same at k + 8. b[0] holds k 2t, 2t + 1 of column g; b[1] k + 8.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. r[i] holds elements 2t, 2t + 1
// of row g of matrix i; `trans`: rows 2t, 2t + 1 of column g.
__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_pointer(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_pointer(row))
               : "memory");
}
// 16 bytes from global to shared memory; zeros where `valid` is false (nothing is read then).
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_pointer(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
__device__ __forceinline__ float exp2_fast(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

#else

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t own[6] = {a[0], a[1], a[2], a[3], b0, b1};
  auto slots = emulate::exchange(own, sizeof(own));
  const int g = emulate::lane() / 4, t = emulate::lane() % 4;
  auto half = [&](int lane, int word, int odd) {
    uint32_t w;
    std::memcpy(&w, slots[lane] + 4 * word, 4);
    return bf16_bits_to_f32(odd ? w >> 16 : w & 0xffff);
  };
  for (int i = 0; i < 4; ++i) {
    const int high_row = i / 2, column = 2 * t + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k)
      sum += half(4 * g + k % 8 / 2, 2 * (k / 8) + high_row, k % 2) * half(4 * column + k % 8 / 2, 4 + k / 8, k % 2);
    d[i] += sum;
  }
}
inline void load_matrices(uint32_t (&r)[4], const void* row, bool trans) {
  auto slots = emulate::exchange(&row, sizeof(row));
  const int g = emulate::lane() / 4, t = emulate::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    auto element = [&](int y, int x) {
      const char* from;
      std::memcpy(&from, slots[8 * i + y], sizeof(from));
      uint16_t v;
      std::memcpy(&v, from + 2 * x, 2);
      return uint32_t(v);
    };
    r[i] = trans ? element(2 * t, g) | element(2 * t + 1, g) << 16 : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
  }
}
inline void ldmatrix(uint32_t (&r)[4], const void* row) { load_matrices(r, row, false); }
inline void ldmatrix_trans(uint32_t (&r)[4], const void* row) { load_matrices(r, row, true); }
inline void copy_async(void* to, const void* from, bool valid) {
  if (valid) std::memcpy(to, from, 16);
  else std::memset(to, 0, 16);
}
inline void copy_commit() {}
template <int pending>
void copy_wait() {}
inline float exp2_fast(float v) { return std::exp2(v); }

#endif

}  // namespace vl8::cuda::sm80

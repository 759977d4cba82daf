// Instructions of compute capability 8.0 and 8.9 that CUDA C++ has no name for (PTX ISA 8.x, sections "mma", "ldmatrix",
// "cp.async", "cvt"), each in one small function, so that emulate/ptx_sm80.h can stand in for them on the CPU.
#pragma once
#ifdef VL8_CUDA_EMULATION
#include "cuda/emulate/ptx_sm80.h"
#else
#include <cuda_runtime.h>

#include <cstdint>

// FP8 conversions and matrix products exist in hardware since 8.9.
#if __CUDA_ARCH__ >= 890
#define VL8_FP8_UNITS 1
#endif

namespace vl8::cuda {

// d (+)= a b: 16 x 8 float32, a [16, k] row-major, b [k, 8] column-major, fragments as the PTX ISA lays them out.
__device__ __forceinline__ void mma_bf16_16816(float* d, const uint32_t* a, const uint32_t* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_f16_16816(float* d, const uint32_t* a, const uint32_t* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#ifdef VL8_FP8_UNITS
__device__ __forceinline__ void mma_e4m3_16832(float* d, const uint32_t* a, const uint32_t* b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Two E4M3 bytes (half 0 or 1 of `word`) as FP16.
template <int Half>
__device__ __forceinline__ uint32_t e4m3_to_f16x2_hardware(uint32_t word) {
  uint32_t r;
  asm("{\n.reg .b16 a;\ncvt.u16.u32 a, %1;\ncvt.rn.f16x2.e4m3x2 %0, a;\n}" : "=r"(r) : "r"(word >> (16 * Half)));
  return r;
}
#endif
__device__ __forceinline__ uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t r;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}

// Copies 16 (4) bytes to shared memory, or fills them with zero when not `inside`.
__device__ __forceinline__ void cp_async16(void* to, const void* from, bool inside = true) {
  uint32_t s = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(s), "l"(from), "r"(inside ? 16 : 0) : "memory");
}
__device__ __forceinline__ void cp_async4(void* to, const void* from, bool inside = true) {
  uint32_t s = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(s), "l"(from), "r"(inside ? 4 : 0) : "memory");
}
__device__ __forceinline__ void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
__device__ __forceinline__ void cp_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void ldmatrix_x4(uint32_t* r, const void* row) {
  uint32_t s = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s));
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t* r, const void* row) {
  uint32_t s = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(s));
}

// 16 bytes that are read once: past L1, with a 256-byte L2 fetch.
__device__ __forceinline__ uint4 load_streaming(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

}  // namespace vl8::cuda
#endif

namespace vl8::cuda {

// Two E4M3 bytes (half 0 or 1 of `word`) as FP16 times 2^-8: bytes to the upper halves, exponent and mantissa one bit
// down. Subnormals come out right; code 0x7F (NaN in E4M3) does not.
template <int Half>
__device__ __forceinline__ uint32_t e4m3_to_f16x2_small(uint32_t word) {
  uint32_t p = __byte_perm(word, 0, Half ? 0x3424 : 0x1404);
  return (p & 0x80008000u) | ((p & 0x7f007f00u) >> 1);
}
// The same as BF16, exact: first times 2^-120 by position, then times 2^120.
template <int Half>
__device__ __forceinline__ uint32_t e4m3_to_bf16x2(uint32_t word) {
  uint32_t p = __byte_perm(word, 0, Half ? 0x3424 : 0x1404);
  return fma_bf16x2((p & 0x80008000u) | ((p & 0x7f007f00u) >> 4), 0x7b807b80u, 0x80008000u);
}

}  // namespace vl8::cuda

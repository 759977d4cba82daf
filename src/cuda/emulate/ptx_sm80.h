// The instructions of cuda/sm80/ptx.cuh on the CPU, after the PTX ISA's fragment layouts. Copies are not asynchronous here.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/dtype.h"
#include "cuda/emulate/emulate.h"

inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector) {
  uint64_t both = (uint64_t(y) << 32) | x;
  uint32_t r = 0;
  for (int i = 0; i < 4; ++i) r |= uint32_t((both >> (8 * ((selector >> (4 * i)) & 7))) & 0xff) << (8 * i);
  return r;
}

#ifdef VL8_EMULATE_FP8_UNITS
#define VL8_FP8_UNITS 1
#endif

namespace vl8::cuda {

// One 16-bit (or E4M3) matrix product from the fragments of 32 lanes; `value` decodes element i of a register.
template <int K, int PerRegister, typename Value>
void emulated_mma(float* d, const uint32_t* a, const uint32_t* b, Value value) {
  uint32_t own[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  auto slots = emulate::exchange(own, sizeof own);
  constexpr int half = K / 2;  // features of one register of every quad
  auto element = [&](int lane, int reg, int i) {
    uint32_t r;
    std::memcpy(&r, slots[lane] + 4 * reg, 4);
    return value(r, i);
  };
  int lane = emulate::lane(), g = lane / 4, t = lane % 4;
  for (int h = 0; h < 2; ++h)
    for (int c = 0; c < 2; ++c) {
      float sum = 0;
      for (int k = 0; k < K; ++k) {
        int upper = k / half, in = k % half, quad = in / PerRegister, i = in % PerRegister;
        sum += element(g * 4 + quad, h + 2 * upper, i) * element((2 * t + c) * 4 + quad, 4 + upper, i);
      }
      d[2 * h + c] += sum;
    }
}
inline void mma_bf16_16816(float* d, const uint32_t* a, const uint32_t* b) {
  emulated_mma<16, 2>(d, a, b, [](uint32_t r, int i) { return bf16_to_f32(uint16_t(r >> (16 * i))); });
}
inline void mma_f16_16816(float* d, const uint32_t* a, const uint32_t* b) {
  emulated_mma<16, 2>(d, a, b, [](uint32_t r, int i) { return f16_to_f32(uint16_t(r >> (16 * i))); });
}
inline void mma_e4m3_16832(float* d, const uint32_t* a, const uint32_t* b) {
  emulated_mma<32, 4>(d, a, b, [](uint32_t r, int i) { return vl8::e4m3_to_f32(uint8_t(r >> (8 * i))); });
}
template <int Half>
uint32_t e4m3_to_f16x2_hardware(uint32_t word) {
  uint32_t w = word >> (16 * Half);
  return f32_to_f16(vl8::e4m3_to_f32(uint8_t(w))) | uint32_t(f32_to_f16(vl8::e4m3_to_f32(uint8_t(w >> 8)))) << 16;
}
inline uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  auto one = [](uint32_t x, uint32_t y, uint32_t z) {
    return uint32_t(f32_to_bf16(std::fma(bf16_to_f32(uint16_t(x)), bf16_to_f32(uint16_t(y)), bf16_to_f32(uint16_t(z)))));
  };
  return one(a, b, c) | one(a >> 16, b >> 16, c >> 16) << 16;
}

inline void cp_async16(void* to, const void* from, bool inside = true) {
  if (inside) std::memcpy(to, from, 16); else std::memset(to, 0, 16);
}
inline void cp_async4(void* to, const void* from, bool inside = true) {
  if (inside) std::memcpy(to, from, 4); else std::memset(to, 0, 4);
}
inline void cp_commit() {}
template <int Pending>
void cp_wait() {}

inline void emulated_ldmatrix(uint32_t* r, const void* row, bool transposed) {
  auto slots = emulate::exchange(&row, sizeof row);
  int lane = emulate::lane();
  for (int m = 0; m < 4; ++m) {
    uint16_t v[2];
    for (int i = 0; i < 2; ++i) {
      int matrix_row = transposed ? 2 * (lane % 4) + i : lane / 4, column = transposed ? lane / 4 : 2 * (lane % 4) + i;
      const uint16_t* p;
      std::memcpy(&p, slots[8 * m + matrix_row], sizeof p);
      v[i] = p[column];
    }
    r[m] = v[0] | uint32_t(v[1]) << 16;
  }
}
inline void ldmatrix_x4(uint32_t* r, const void* row) { emulated_ldmatrix(r, row, false); }
inline void ldmatrix_x4_trans(uint32_t* r, const void* row) { emulated_ldmatrix(r, row, true); }

inline uint4 load_streaming(const void* p) {
  uint4 v;
  std::memcpy(&v, p, 16);
  return v;
}

}  // namespace vl8::cuda

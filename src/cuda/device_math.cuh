// Small device functions that several kernels share: number formats, activations, programmatic dependent launch.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "cuda/gemm_args.h"

namespace vl8::cuda {

__device__ __forceinline__ float bf16_bits_to_f32(uint32_t bits) { return __uint_as_float(bits << 16); }
__device__ __forceinline__ float e4m3_to_f32(uint8_t q) {
  // E4M3 widened by bit position is value * 2^-8 in float16, subnormals included; both steps are exact.
  unsigned short h = static_cast<unsigned short>(((q & 0x80u) << 8) | ((q & 0x7fu) << 7));
  float v = __half2float(__ushort_as_half(h)) * 256.0f;
  return (q & 0x7f) == 0x7f ? __int_as_float(0x7fc00000) : v;
}
__device__ __forceinline__ uint8_t f32_to_e4m3(float v) { return __nv_cvt_float_to_fp8(v, __NV_SATFINITE, __NV_E4M3); }
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  __nv_bfloat162 p = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<uint32_t&>(p);
}

__device__ __forceinline__ float load_as_f32(const void* p, Format format, size_t i) {
  if (format == Format::f32) return static_cast<const float*>(p)[i];
  if (format == Format::bf16) return bf16_bits_to_f32(static_cast<const uint16_t*>(p)[i]);
  return e4m3_to_f32(static_cast<const uint8_t*>(p)[i]);
}
__device__ __forceinline__ void store_f32(void* p, Format format, size_t i, float v) {
  if (format == Format::f32)
    static_cast<float*>(p)[i] = v;
  else
    static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16_rn(v);
}

// NOTE: counted in instructions, the library's tanhf, expf and divisions would cost an epilogue half of a whole product of 1152
// features. The fast forms err by 2^-21, far below BF16 and below what float32 sums of products lose.
__device__ __forceinline__ float silu(float v) { return __fdividef(v, 1.0f + __expf(-v)); }
// tanh form: 0.5 v (1 + tanh(sqrt(2/pi) (v + 0.044715 v^3))), by 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)).
__device__ __forceinline__ float gelu_tanh(float v) {
  return __fdividef(v, 1.0f + __expf(-1.5957691216057308f * (v + 0.044715f * v * v * v)));
}
__device__ __forceinline__ float gelu_erf(float v) { return 0.5f * v * (1.0f + erff(v * 0.7071067811865476f)); }
__device__ __forceinline__ float activate(float v, Epilogue e) {
  return e == Epilogue::gelu_tanh ? gelu_tanh(v) : e == Epilogue::gelu_erf ? gelu_erf(v) : v;
}

// Scale of weight row `row`, features 128 `group` .. of one expert; `row_scale` kinds have no group.
__device__ __forceinline__ float weight_scale(const GemmArgs& a, int expert, int row, int group) {
  size_t groups = (a.k + 127) / 128;
  switch (a.w_scales) {
    case Scales::none: return 1.0f;
    case Scales::row: return a.w_scale[size_t(expert) * a.n + row];
    case Scales::block: return a.w_scale[(size_t(expert) * ((a.n + 127) / 128) + row / 128) * groups + group];
    case Scales::row_block: return a.w_scale[(size_t(expert) * a.n + row) * groups + group];
  }
  return 1.0f;
}

// The end of a product: bias, activation, residual, store of one element. `v` is the finished sum.
__device__ __forceinline__ void finish(const GemmArgs& a, int row, int col, float v) {
  if (a.bias) v += a.bias[col];
  v = activate(v, a.epilogue);
  if (a.residual) v += load_as_f32(a.residual, a.residual_format, size_t(row) * a.residual_stride + col);
  store_f32(a.y, a.y_format, size_t(row) * a.y_stride + col, v);
}
__device__ __forceinline__ void finish_silu_mul(const GemmArgs& a, int row, int col, float gate, float up) {
  if (a.bias) gate += a.bias[col], up += a.bias[a.columns + col];
  float v = silu(gate) * up;
  if (a.residual) v += load_as_f32(a.residual, a.residual_format, size_t(row) * a.residual_stride + col);
  store_f32(a.y, a.y_format, size_t(row) * a.y_stride + col, v);
}

// Programmatic dependent launch (compute capability 9.0): let the next kernel start; wait for the end of the previous.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace vl8::cuda

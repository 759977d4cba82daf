// RMSNorm and LayerNorm, with the sum in front and E4M3 groups behind in the same pass. One block a row; a thread keeps its
// elements in registers between the two passes over them.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kMaxChunks = 4;  // of 8 elements a thread

// Sixteen neighbouring threads hold one group of 128 features.
__device__ __forceinline__ void quantise8(const float (&v)[8], uint8_t* q, float* scale) {
  float amax = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) amax = fmaxf(amax, fabsf(v[i]));
#pragma unroll
  for (int d = 8; d > 0; d >>= 1) amax = fmaxf(amax, __shfl_xor_sync(~0u, amax, d, 16));
  const float s = fmaxf(amax, 1e-10f) / 448.0f;
  uint32_t low = 0, high = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    low |= uint32_t(f32_to_e4m3(v[i] / s)) << (8 * i);
    high |= uint32_t(f32_to_e4m3(v[4 + i] / s)) << (8 * i);
  }
  if (q) *reinterpret_cast<uint2*>(q) = {low, high};
  if (threadIdx.x % 16 == 0 && scale) *scale = s;
}

template <typename T, bool layer_norm, int chunks>
__global__ void norm_kernel(NormArgs a) {
  __shared__ float scratch[32];
  wait_for_previous();
  launch_dependents();
  const int64_t row = blockIdx.x, c = a.c;
  const T* x = static_cast<const T*>(a.x) + row * c;
  float v[chunks][8], sum = 0;
#pragma unroll
  for (int j = 0; j < chunks; ++j) {
    const int64_t i = int64_t(j * blockDim.x + threadIdx.x) * 8;
#pragma unroll
    for (int e = 0; e < 8; ++e) v[j][e] = 0;
    if (i >= c) continue;
    load8(x + i, v[j]);
    if (a.delta) {
      float d[8];
      load8(static_cast<const T*>(a.delta) + row * c + i, d);
#pragma unroll
      for (int e = 0; e < 8; ++e) v[j][e] = to_f32(from_f32<T>(v[j][e] + d[e]));  // what is normalised is what is stored
      store8(static_cast<T*>(a.sum) + row * c + i, v[j]);
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) sum += layer_norm ? v[j][e] : v[j][e] * v[j][e];
  }
  sum = block_sum(sum, scratch);
  float mean = 0, squares = sum;
  if (layer_norm) {
    mean = sum / float(c), squares = 0;
#pragma unroll
    for (int j = 0; j < chunks; ++j)
      if (int64_t(j * blockDim.x + threadIdx.x) * 8 < c)
#pragma unroll
        for (int e = 0; e < 8; ++e) squares += (v[j][e] - mean) * (v[j][e] - mean);
    squares = block_sum(squares, scratch);
  }
  const float factor = 1.0f / sqrtf(squares / float(c) + a.eps);
#pragma unroll
  for (int j = 0; j < chunks; ++j) {
    const int64_t i = int64_t(j * blockDim.x + threadIdx.x) * 8;
    float y[8] = {};
    if (i < c) {
      float w[8], b[8] = {};
      load8(a.weight + i, w);
      if (layer_norm) load8(a.bias + i, b);
#pragma unroll
      for (int e = 0; e < 8; ++e)
        y[e] = layer_norm ? (v[j][e] - mean) * factor * w[e] + b[e] : w[e] * (v[j][e] * factor);
      if (a.y) store8(static_cast<T*>(a.y) + row * c + i, y);
    }
    if (a.q) {
      const bool in = i < c;
      // E4M3 of the BF16 value: with and without the copy in BF16 the next product sees the same numbers
#pragma unroll
      for (int e = 0; e < 8; ++e) y[e] = to_f32(from_f32<T>(y[e]));
      quantise8(y, in ? a.q + row * c + i : nullptr, in ? a.scale + i / 128 * a.scale_stride + row : nullptr);
    }
  }
}

// Rows whose length is not a multiple of 8, or longer than the registers hold.
template <typename T, bool layer_norm>
__global__ void norm_any_kernel(NormArgs a) {
  __shared__ float scratch[32];
  wait_for_previous();
  launch_dependents();
  const int64_t row = blockIdx.x, c = a.c;
  const T* x = static_cast<const T*>(a.x) + row * c;
  if (a.delta) {
    T* sum = static_cast<T*>(a.sum) + row * c;
    const T* d = static_cast<const T*>(a.delta) + row * c;
    for (int64_t i = threadIdx.x; i < c; i += blockDim.x) sum[i] = from_f32<T>(to_f32(x[i]) + to_f32(d[i]));
    x = sum;  // each thread reads back only what it wrote
  }
  float total = 0;
  for (int64_t i = threadIdx.x; i < c; i += blockDim.x) total += layer_norm ? to_f32(x[i]) : to_f32(x[i]) * to_f32(x[i]);
  total = block_sum(total, scratch);
  float mean = 0;
  if (layer_norm) {
    mean = total / float(c), total = 0;
    for (int64_t i = threadIdx.x; i < c; i += blockDim.x) total += (to_f32(x[i]) - mean) * (to_f32(x[i]) - mean);
    total = block_sum(total, scratch);
  }
  const float factor = 1.0f / sqrtf(total / float(c) + a.eps);
  T* y = static_cast<T*>(a.y) + row * c;
  for (int64_t i = threadIdx.x; i < c; i += blockDim.x)
    y[i] = from_f32<T>(layer_norm ? (to_f32(x[i]) - mean) * factor * a.weight[i] + a.bias[i] : a.weight[i] * (to_f32(x[i]) * factor));
}

template <bool layer>
void norm(NormArgs a, const GemmContext& ctx) {
  if (a.t == 0) return;
  a.scale_stride = scale_stride(a.t);
  const int64_t vectors = a.c / 8;
  int chunks = 1;
  while (chunks < kMaxChunks && vectors > chunks * (chunks == 1 ? 512 : 256)) chunks *= 2;
  const int64_t threads = (((vectors + chunks - 1) / chunks) + 31) / 32 * 32;
  with_act(a.act, [&](auto v) {
    using T = decltype(v);
    if (a.c % 8 != 0 || threads > 1024)
      return launch("norm", norm_any_kernel<T, layer>, {dim3(unsigned(a.t)), dim3(256)}, ctx, a);
    auto kernel = chunks == 1 ? norm_kernel<T, layer, 1> : chunks == 2 ? norm_kernel<T, layer, 2> : norm_kernel<T, layer, 4>;
    launch("norm", kernel, {dim3(unsigned(a.t)), dim3(unsigned(threads))}, ctx, a);
  });
}

}  // namespace

void rms_norm(const NormArgs& a, const GemmContext& ctx) { norm<false>(a, ctx); }
void layer_norm(const NormArgs& a, const GemmContext& ctx) { norm<true>(a, ctx); }

}  // namespace vl8::cuda

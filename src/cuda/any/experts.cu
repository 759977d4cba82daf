// The router's choice, rows sorted by expert, and the weighted sum of what the experts made. Nothing comes back to the host.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kMaxLaneExperts = 16;  // up to 512 experts
constexpr int kMaxExperts = 32 * kMaxLaneExperts;

// A warp a token: the k largest, ties to the lower index, weights by softmax among them (spec 7.7).
__global__ void route_kernel(const float* logits, int t, int experts, int k, int32_t* expert, float* weight) {
  wait_for_previous();
  launch_dependents();
  const int lane = threadIdx.x % 32, row = int(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
  if (row >= t) return;
  float v[kMaxLaneExperts];
#pragma unroll
  for (int i = 0; i < kMaxLaneExperts; ++i)
    v[i] = lane + 32 * i < experts ? logits[int64_t(row) * experts + lane + 32 * i] : -INFINITY;
  float top = 0, total = 0;
  for (int j = 0; j < k; ++j) {
    float best = -INFINITY;
    int at = kMaxExperts;
#pragma unroll
    for (int i = 0; i < kMaxLaneExperts; ++i)
      if (v[i] > best) best = v[i], at = lane + 32 * i;
    for (int d = 16; d > 0; d >>= 1) {
      const float other = __shfl_xor_sync(~0u, best, d);
      const int other_at = __shfl_xor_sync(~0u, at, d);
      if (other > best || (other == best && other_at < at)) best = other, at = other_at;
    }
    if (at >= experts) at = j;  // only where logits are not numbers; keeps every index valid
    if (j == 0) top = best;
    const float p = expf(best - top);
    total += p;
    if (lane == 0) expert[int64_t(row) * k + j] = at, weight[int64_t(row) * k + j] = p;
#pragma unroll
    for (int i = 0; i < kMaxLaneExperts; ++i)
      if (lane + 32 * i == at) v[i] = -INFINITY;
  }
  __syncwarp();
  for (int j = lane; j < k; j += 32) weight[int64_t(row) * k + j] /= total;
}

// One block: count, running sum, place. Rows of an expert come in no fixed order; every row is computed the same anywhere.
__global__ void __launch_bounds__(1024) group_kernel(const int32_t* expert, int n, int k, int experts, int32_t* offsets,
                                                     int32_t* row_token, int32_t* row_of) {
  __shared__ int32_t count[kMaxExperts], next[kMaxExperts];
  wait_for_previous();
  launch_dependents();
  for (int e = threadIdx.x; e < experts; e += blockDim.x) count[e] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&count[expert[i]], 1);
  __syncthreads();
  if (threadIdx.x < 32) {
    int32_t carry = 0;
    for (int base = 0; base < experts; base += 32) {
      const int e = base + int(threadIdx.x);
      const int32_t own = e < experts ? count[e] : 0;
      int32_t sum = own;
      for (int d = 1; d < 32; d <<= 1) {
        const int32_t below = __shfl_up_sync(~0u, sum, d);
        if (int(threadIdx.x) >= d) sum += below;
      }
      if (e < experts) next[e] = offsets[e] = carry + sum - own;
      carry += __shfl_sync(~0u, sum, 31);
    }
    if (threadIdx.x == 0) offsets[experts] = carry;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const int32_t row = atomicAdd(&next[expert[i]], 1);
    row_token[row] = i / k, row_of[i] = row;
  }
}

template <typename T>
__global__ void combine_kernel(const T* x, const int32_t* row_of, const float* weight, int k, int64_t c, T* y) {
  wait_for_previous();
  launch_dependents();
  const int64_t row = blockIdx.y;
  for (int64_t i = 2 * (int64_t(blockIdx.x) * blockDim.x + threadIdx.x); i < c; i += 2 * int64_t(gridDim.x) * blockDim.x) {
    float a = 0, b = 0;
    for (int j = 0; j < k; ++j) {
      const float2 v = load2(x + int64_t(row_of[row * k + j]) * c + i);
      const float w = weight[row * k + j];
      a += w * v.x, b += w * v.y;
    }
    store2(y + row * c + i, a, b);
  }
}

}  // namespace

void route_top_k(const float* logits, int32_t t, int32_t experts, int32_t k, int32_t* expert, float* weight, const GemmContext& ctx) {
  launch("route", route_kernel, {dim3(blocks_for(t, 4)), dim3(128)}, ctx, logits, t, experts, k, expert, weight);
}

void group_by_expert(const int32_t* expert, int32_t t, int32_t k, int32_t experts, int32_t* offsets, int32_t* row_token, int32_t* row_of,
                     const GemmContext& ctx) {
  launch("group by expert", group_kernel, {dim3(1), dim3(t * k <= 256 ? 256 : 1024)}, ctx, expert, t * k, k, experts, offsets, row_token,
         row_of);
}

void combine_experts(const void* x, Format act, const int32_t* row_of, const float* weight, int32_t t, int32_t k, int64_t c, void* y,
                     const GemmContext& ctx) {
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("combine experts", combine_kernel<T>, {dim3(blocks_for(c, 512), unsigned(t)), dim3(256)}, ctx, static_cast<const T*>(x), row_of,
           weight, k, c, static_cast<T*>(y));
  });
}

}  // namespace vl8::cuda

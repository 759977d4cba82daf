// Choosing tokens on the device.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

// A block a row. The lowest id among equals, as the host's sampler has it; a NaN wins, so that the host sees it.
__global__ void __launch_bounds__(1024) argmax_kernel(const float* logits, int64_t vocab, int32_t* out) {
  __shared__ float best_of[32];
  __shared__ int32_t at_of[32];
  wait_for_previous();
  launch_dependents();
  const float* row = logits + int64_t(blockIdx.x) * vocab;
  auto better = [](float a, int32_t i, float b, int32_t j) { return a > b || (a == b && i < j) || (a != a && b == b); };
  float best = -INFINITY;
  int32_t at = INT32_MAX;
  for (int64_t i = threadIdx.x; i < vocab; i += blockDim.x)
    if (at == INT32_MAX || better(row[i], int32_t(i), best, at)) best = row[i], at = int32_t(i);
  auto reduce = [&] {
    for (int d = 16; d > 0; d >>= 1) {
      const float other = __shfl_xor_sync(~0u, best, d);
      const int32_t other_at = __shfl_xor_sync(~0u, at, d);
      if (other_at != INT32_MAX && (at == INT32_MAX || better(other, other_at, best, at))) best = other, at = other_at;
    }
  };
  reduce();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) best_of[warp] = best, at_of[warp] = at;
  __syncthreads();
  if (warp != 0) return;
  best = best_of[lane], at = at_of[lane];
  reduce();
  if (lane == 0) out[blockIdx.x] = at;
}

}  // namespace

void argmax_rows(const float* logits, int32_t rows, int64_t vocab, int32_t* out, const GemmContext& ctx) {
  if (rows == 0) return;
  launch("argmax", argmax_kernel, {dim3(unsigned(rows)), dim3(1024)}, ctx, logits, vocab, out);
}

}  // namespace vl8::cuda

// What the attention kernels of this folder share: 16 query rows of a warp against 16 or 64 keys in shared memory, with the
// running maximum and sum of "Online normalizer calculation for softmax" (arXiv 1805.02867). Scores are kept in units of
// log 2 e / sqrt(D), so that one exp2 is enough.
#pragma once
#include "cuda/act.cuh"
#include "cuda/sm80/fragments.cuh"

namespace vl8::cuda::sm80 {

template <int D>
struct HeadShape {
  static constexpr int kSteps = (D + 15) / 16;      // of k in q kᵀ; dimensions from D on are zero
  static constexpr int kStride = kSteps * 16 + 8;   // elements of a row in shared memory: an odd number of 16 bytes, so
                                                    // that eight rows of a matrix lie in different banks
  static constexpr int kColumns = D / 8;            // blocks of 8 output dimensions
  static_assert(D % 8 == 0);
};

template <int D>
struct Accumulator {
  float o[HeadShape<D>::kColumns][4];
  float top[2], total[2];  // of rows g and g + 8
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int c = 0; c < HeadShape<D>::kColumns; ++c)
#pragma unroll
      for (int i = 0; i < 4; ++i) o[c][i] = 0;
    top[0] = top[1] = -INFINITY, total[0] = total[1] = 0;
  }
};

// Fragments of 16 query rows. row(g) is a pointer to D elements, or null for a row of zeros.
template <int D, typename Row>
__device__ __forceinline__ void load_queries(uint32_t (&q)[HeadShape<D>::kSteps][4], Row row) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bf16 *low = row(g), *high = row(g + 8);
#pragma unroll
  for (int s = 0; s < HeadShape<D>::kSteps; ++s)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bf16* p = i % 2 ? high : low;
      const int at = 16 * s + 2 * t + 8 * (i / 2);
      q[s][i] = p && at < D ? *reinterpret_cast<const uint32_t*>(p + at) : 0;
    }
}

// s[n] = scores of keys 8 n .. 8 n + 7; `keys` points to the first key's row in shared memory.
template <int D, int N>
__device__ __forceinline__ void scores(float (&s)[N][4], const uint32_t (&q)[HeadShape<D>::kSteps][4], const bf16* keys) {
  const int lane = threadIdx.x % 32, row = lane / 16 * 8 + lane % 8, part = lane / 8 % 2 * 8;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) s[n][i] = 0;
#pragma unroll
  for (int step = 0; step < HeadShape<D>::kSteps; ++step)
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t k[4];
      ldmatrix(k, keys + (8 * n + row) * HeadShape<D>::kStride + 16 * step + part);
      mma_bf16(s[n], q[step], k[0], k[1]);
      mma_bf16(s[n + 1], q[step], k[2], k[3]);
    }
}

// Folds N blocks of 8 keys into the accumulator: s is used up. `values` points to the first key's values.
template <int D, int N>
__device__ __forceinline__ void absorb(Accumulator<D>& a, float (&s)[N][4], float scale, const bf16* values) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float top = a.top[h];
#pragma unroll
    for (int n = 0; n < N; ++n) top = fmaxf(top, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    const float base = top == -INFINITY ? 0.0f : top * scale;
    const float shrink = exp2_fast(a.top[h] * scale - base);
    float sum = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) sum += s[n][2 * h + i] = exp2_fast(s[n][2 * h + i] * scale - base);
    a.top[h] = top, a.total[h] = a.total[h] * shrink + sum;  // `sum` is this lane's part; lanes of a row are added at the end
#pragma unroll
    for (int c = 0; c < HeadShape<D>::kColumns; ++c) a.o[c][2 * h] *= shrink, a.o[c][2 * h + 1] *= shrink;
  }
  const int lane = threadIdx.x % 32, row = lane % 16, part = lane / 16 * 8;
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    const uint32_t p[4] = {pack_bf16(s[n][0], s[n][1]), pack_bf16(s[n][2], s[n][3]), pack_bf16(s[n + 1][0], s[n + 1][1]),
                           pack_bf16(s[n + 1][2], s[n + 1][3])};
#pragma unroll
    for (int c = 0; c < HeadShape<D>::kColumns; c += 2) {
      uint32_t v[4];
      ldmatrix_trans(v, values + (8 * n + row) * HeadShape<D>::kStride + 8 * c + part);
      mma_bf16(a.o[c], p, v[0], v[1]);
      if (c + 1 < HeadShape<D>::kColumns) mma_bf16(a.o[c + 1], p, v[2], v[3]);
    }
  }
}

// The lanes of a row together.
template <int D>
__device__ __forceinline__ void finish_totals(Accumulator<D>& a) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    a.total[h] += __shfl_xor_sync(~0u, a.total[h], 1);
    a.total[h] += __shfl_xor_sync(~0u, a.total[h], 2);
  }
}

// Starts the copy of `rows` rows of D elements; row(j) gives the address, or null for zeros. Whole block.
template <int D, typename Row>
__device__ __forceinline__ void copy_rows(bf16* to, int rows, Row row) {
  constexpr int kPieces = D / 8;
  for (int i = threadIdx.x; i < rows * kPieces; i += blockDim.x) {
    const bf16* from = row(i / kPieces);
    copy_async(to + i / kPieces * HeadShape<D>::kStride + i % kPieces * 8, from ? from + i % kPieces * 8 : to, from != nullptr);
  }
}
// Zeros in the columns from D on, which copies never touch.
template <int D>
__device__ __forceinline__ void clear_padding(bf16* rows, int n) {
  constexpr int kPad = HeadShape<D>::kStride - D;
  for (int i = threadIdx.x; i < n * kPad; i += blockDim.x) rows[i / kPad * HeadShape<D>::kStride + D + i % kPad] = __float2bfloat16_rn(0.0f);
}

}  // namespace vl8::cuda::sm80

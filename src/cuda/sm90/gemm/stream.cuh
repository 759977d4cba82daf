// Matrix product for few rows of x, bound by reading W. W is the 64-row operand of wgmma and the tokens are its columns
// ("swapped"), so 8 tokens cost 8 columns, not 64. The work is cut into units of (128 rows of W) x (128 bytes of k); each
// block takes an equal run of units whatever the shape, so every multiprocessor reads the same number of bytes. Where a
// run ends inside a tile, the partial sums go to the workspace and the last block to arrive adds them up in block order:
// the result does not depend on timing, nor on how many tokens there are beside a row.
#pragma once
#include "cuda/device_math.cuh"
#include "cuda/launch.h"
#include "cuda/sm90/gemm/stream.h"
#include "cuda/sm90/ptx.cuh"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/wgmma.cuh"

namespace vl8::cuda::sm90 {

constexpr int kStreamRows = 128, kStreamThreads = 160;  // a consumer warpgroup and a producer warp
constexpr int kCounterBytes = kStreamMaxTiles * 4;      // at the start of the workspace: arrivals a tile, zero between launches
constexpr int kOrderBytes = (kStreamMaxExperts + 1) * 4 + 12;

template <Format F, int T>
struct StreamPlan {
  static constexpr int kDepth = F == Format::e4m3 ? 128 : 64;
  static constexpr int kWBytes = kStreamRows * 128, kXBytes = T * 128;
  // Scales come in a box that starts at a multiple of 16 bytes (the copy engine takes no other start; tokens of an expert
  // begin anywhere): up to 3 tokens before the tile, so the box is 4 longer.
  static constexpr int kScaleBox = T + 4, kScaleBytes = F == Format::e4m3 ? 128 * ((kScaleBox * 4 + 127) / 128) : 0;
  static constexpr int kStageBytes = kWBytes + kXBytes;
  // Two blocks share a multiprocessor: while one finishes a tile the other keeps memory busy.
  static constexpr int kStages = (112 * 1024 - 1024 - 512 - kOrderBytes) / (kStageBytes + kScaleBytes);
  static constexpr int kSharedBytes = 1024 + kStages * (kStageBytes + kScaleBytes) + 2 * 8 * kStages + 16 + kOrderBytes;
  static constexpr int kPartialFloats = kStreamRows * T;
};

// Where unit `u` lies: tile = u / depth_blocks; tiles run over (expert, row tile of W, token tile), token tile fastest.
struct StreamTile {
  int expert, token0, token_end, w_row;  // w_row: first of y's columns (gate rows with Fused)
};
template <int T, int OutRows>
struct StreamOrder {
  const int* first_tile;  // [experts + 1] in shared memory; unused without experts
  int row_tiles;
  __device__ StreamOrder(const GemmArgs& a, const int* first)
      : first_tile(first), row_tiles((a.columns + OutRows - 1) / OutRows) {}
  __device__ int total(const GemmArgs& a) const {
    return a.offsets ? first_tile[a.experts] : (a.m + T - 1) / T * row_tiles;
  }
  // By one warp: running sums of the experts' tiles.
  __device__ void count(const GemmArgs& a, int* first) const {
    int lane = threadIdx.x % 32, before = 0;
    for (int e0 = 0; e0 < a.experts; e0 += 32) {
      int e = e0 + lane, tiles = e < a.experts ? (a.offsets[e + 1] - a.offsets[e] + T - 1) / T * row_tiles : 0;
      int sum = tiles;
#pragma unroll
      for (int d = 1; d < 32; d *= 2) {
        int other = __shfl_up_sync(~0u, sum, d);
        if (lane >= d) sum += other;
      }
      if (e < a.experts) first[e] = before + sum - tiles;
      before += __shfl_sync(~0u, sum, 31);
    }
    if (lane == 0) first[a.experts] = before;
  }
  __device__ StreamTile find(const GemmArgs& a, int tile) const {
    int expert = 0, begin = 0, end = a.m, i = tile;
    if (a.offsets) {
      int high = a.experts;  // the last expert whose first tile is not after `tile`; empty experts come before it
      while (high - expert > 1) {
        int middle = (expert + high) / 2;
        if (first_tile[middle] <= tile) expert = middle; else high = middle;
      }
      begin = a.offsets[expert], end = a.offsets[expert + 1], i = tile - first_tile[expert];
    }
    int token_tiles = (end - begin + T - 1) / T;
    return {expert, begin + i % token_tiles * T, end, i / token_tiles * OutRows};
  }
};

// Adds this block's partial tile to the workspace. True in every consumer thread of the block that must finish the
// tile; `sum` then holds the total.
template <int Floats>
__device__ bool join_partials(float (&sum)[Floats], int tile, int units_a_tile, int64_t units, int blocks, void* workspace,
                              volatile int* flag) {
  int tid = threadIdx.x, block = blockIdx.x;
  int* counters = static_cast<int*>(workspace);
  float* partials = reinterpret_cast<float*>(static_cast<char*>(workspace) + kCounterBytes);
  // Block b has units [b units / blocks, (b + 1) units / blocks); a unit's owner follows by inversion.
  auto owner = [&](int64_t u) { return int(((u + 1) * blocks - 1) / units); };
  int64_t first_unit = int64_t(tile) * units_a_tile;
  int first = owner(first_unit), last = owner(first_unit + units_a_tile - 1);
  // A block has at most two partial tiles: the one its run begins in and the one it ends in.
  auto slot = [&](int b) { return partials + (2 * size_t(b) + (b * units / blocks >= first_unit ? 0 : 1)) * Floats * 128; };
  float* own = slot(block);
#pragma unroll
  for (int i = 0; i < Floats; ++i) own[i * 128 + tid] = sum[i];
  __threadfence();
  named_barrier(1, 128);
  if (tid == 0) {
    int arrived = atomicAdd(&counters[tile], 1);
    *flag = arrived == last - first;
    if (arrived == last - first) counters[tile] = 0;
  }
  named_barrier(1, 128);
  if (!*flag) return false;
  __threadfence();
#pragma unroll
  for (int i = 0; i < Floats; ++i) sum[i] = 0;
  for (int b = first; b <= last; ++b) {
    const float* part = slot(b);
#pragma unroll
    for (int i = 0; i < Floats; ++i) sum[i] += __ldcg(part + i * 128 + tid);
  }
  return true;
}

template <Format F, int T, bool Fused>
__global__ void __launch_bounds__(kStreamThreads, 2)
    stream_kernel(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map,
                  const __grid_constant__ CUtensorMap scale_map, const GemmArgs a, void* workspace) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using P = StreamPlan<F, T>;
  constexpr int kOutRows = Fused ? kStreamRows / 2 : kStreamRows;
  VL8_DYNAMIC_SHARED(uint8_t, raw);
  uint8_t* stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
  float* scales = reinterpret_cast<float*>(stages + P::kStages * P::kStageBytes);
  uint64_t* full = reinterpret_cast<uint64_t*>(reinterpret_cast<uint8_t*>(scales) + P::kStages * P::kScaleBytes);
  uint64_t* empty = full + P::kStages;
  int* flag = reinterpret_cast<int*>(empty + P::kStages);
  int* first_tile = flag + 4;

  if (threadIdx.x == 128) {
    for (int s = 0; s < P::kStages; ++s) barrier_init(&full[s], 1), barrier_init(&empty[s], 4);
    barrier_init_fence();
    tma_prefetch(&x_map), tma_prefetch(&w_map);
  }
  launch_dependents();
  StreamOrder<T, kOutRows> order(a, first_tile);
  bool early = !a.offsets;  // with experts even the choice of weights depends on the previous kernel
  if (!early) {
    wait_for_previous();
    if (threadIdx.x < 32) order.count(a, first_tile);
  }
  __syncthreads();

  int depth_blocks = (a.k + P::kDepth - 1) / P::kDepth;
  int64_t units = int64_t(order.total(a)) * depth_blocks;
  int blocks = int(min(int64_t(gridDim.x), units));
  if (int(blockIdx.x) >= blocks) return;
  int64_t begin = blockIdx.x * units / blocks, end = (blockIdx.x + 1) * units / blocks;

  int stage = 0;
  uint32_t phase = 0;
  auto advance = [&] {
    if (++stage == P::kStages) stage = 0, phase ^= 1;
  };

  if (threadIdx.x >= 128) {
    if (threadIdx.x != 128) return;
    auto load_w = [&](const StreamTile& t, int kb, int s) {
      uint8_t* ws = stages + s * P::kStageBytes;
      int row = t.expert * a.n + t.w_row;
      barrier_arrive_expect(&full[s], P::kWBytes + P::kXBytes + (F == Format::e4m3 ? P::kScaleBox * 4 : 0));
      tma_load(ws, &w_map, &full[s], kb * P::kDepth, row, kEvictFirst);
      if constexpr (Fused)
        tma_load(ws + kOutRows * 128, &w_map, &full[s], kb * P::kDepth, row + a.columns, kEvictFirst);
    };
    auto load_x = [&](const StreamTile& t, int kb, int s) {
      tma_load(stages + s * P::kStageBytes + P::kWBytes, &x_map, &full[s], kb * P::kDepth, t.token0, kEvictLast);
      if constexpr (F == Format::e4m3)
        tma_load(scales + s * (P::kScaleBytes / 4), &scale_map, &full[s], t.token0 & ~3, kb, kEvictLast);
    };
    // W does not depend on the previous kernel: fill the ring with it, then wait, then fetch x for those stages.
    int64_t ahead = begin;
    if (early) {
      for (int s = 0; s < P::kStages && ahead < end; ++s, ++ahead)
        load_w(order.find(a, int(ahead / depth_blocks)), int(ahead % depth_blocks), s);
      wait_for_previous();
    }
    for (int64_t u = begin; u < end; ++u) {
      StreamTile t = order.find(a, int(u / depth_blocks));
      int kb = int(u % depth_blocks);
      if (u >= ahead) {
        barrier_wait(&empty[stage], phase ^ 1);
        load_w(t, kb, stage);
      }
      load_x(t, kb, stage);
      advance();
    }
    return;
  }

  if (early) wait_for_previous();
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int own_row = warp * 16 + lane / 4, own_token = 2 * (lane % 4);
  bool scaled = F == Format::e4m3 && a.w_scales == Scales::block;
  int scale_rows = (a.n + 127) / 128;
  for (int64_t u = begin; u < end;) {
    int tile = int(u / depth_blocks), kb0 = int(u % depth_blocks);
    int kb1 = int(min(int64_t(depth_blocks), end - int64_t(tile) * depth_blocks));
    StreamTile t = order.find(a, tile);
    float sum[2][T / 2] = {};
    const float* s0 = a.w_scale + (size_t(t.expert) * scale_rows + t.w_row / 128) * depth_blocks;
    const float* s1 = Fused ? a.w_scale + (size_t(t.expert) * scale_rows + (t.w_row + a.columns) / 128) * depth_blocks : s0;
    float next0 = scaled ? s0[kb0] : 1.0f, next1 = scaled && Fused ? s1[kb0] : next0;
    for (int kb = kb0; kb < kb1; ++kb) {
      float w[2] = {next0, next1};
      if (scaled && kb + 1 < kb1) next0 = s0[kb + 1], next1 = Fused ? s1[kb + 1] : next0;
      barrier_wait(&full[stage], phase);
      const uint8_t* ws = stages + stage * P::kStageBytes;
      uint64_t xd = matrix_descriptor(ws + P::kWBytes);
      const float* xs = scales + stage * (P::kScaleBytes / 4) + (t.token0 & 3) + own_token;
      float part[2][T / 2];
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int i = 0; i < T / 2; ++i) pin(part[m][i]);
      wgmma_fence();
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        uint64_t wd = matrix_descriptor(ws + m * 64 * 128);
#pragma unroll
        for (int k = 0; k < 4; ++k) Wgmma<F, T>::run(part[m], wd + 2 * k, xd + 2 * k, k != 0);
      }
      wgmma_commit();
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int i = 0; i < T / 2; ++i) pin(part[m][i]);
      wgmma_wait<0>();
#pragma unroll
      for (int j = 0; j < T / 8; ++j) {
        float2 x = {1.0f, 1.0f};
        if constexpr (F == Format::e4m3) x = make_float2(xs[8 * j], xs[8 * j + 1]);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          float sx = x.x * w[m], sy = x.y * w[m];
          sum[m][4 * j] = fmaf(sx, part[m][4 * j], sum[m][4 * j]);
          sum[m][4 * j + 1] = fmaf(sy, part[m][4 * j + 1], sum[m][4 * j + 1]);
          sum[m][4 * j + 2] = fmaf(sx, part[m][4 * j + 2], sum[m][4 * j + 2]);
          sum[m][4 * j + 3] = fmaf(sy, part[m][4 * j + 3], sum[m][4 * j + 3]);
        }
      }
      __syncwarp();
      if (lane == 0) barrier_arrive(&empty[stage]);
      advance();
    }
    u = int64_t(tile) * depth_blocks + kb1;
    if (kb0 > 0 || kb1 < depth_blocks) {
      float(&flat)[T] = reinterpret_cast<float(&)[T]>(sum);
      if (!join_partials<T>(flat, tile, depth_blocks, units, blocks, workspace, flag)) continue;
    }
    // sum[m][4 j + 2 h + c]: row of W own_row + 8 h (+ 64 m, or the up row), token own_token + 8 j + c.
#pragma unroll
    for (int m = 0; m < (Fused ? 1 : 2); ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        int col = t.w_row + own_row + 8 * h + 64 * m;
        if (col >= a.columns) continue;
        float r0 = 1.0f, r1 = 1.0f;
        if (a.w_scales == Scales::row) {
          r0 = a.w_scale[size_t(t.expert) * a.n + col];
          if constexpr (Fused) r1 = a.w_scale[size_t(t.expert) * a.n + a.columns + col];
        }
#pragma unroll
        for (int j = 0; j < T / 8; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            int token = t.token0 + own_token + 8 * j + c, i = 4 * j + 2 * h + c;
            if (token >= t.token_end) continue;
            if constexpr (Fused)
              finish_silu_mul(a, token, col, sum[0][i] * r0, sum[1][i] * r1);
            else
              finish(a, token, col, sum[m][i] * r0);
          }
      }
  }
#endif
}

template <Format F, int T, bool Fused>
void launch_stream_as(const GemmArgs& a, const GemmContext& context) {
  using P = StreamPlan<F, T>;
  auto kernel = stream_kernel<F, T, Fused>;
  static bool allowed = (allow_shared(kernel, P::kSharedBytes), true);
  (void)allowed;
  CUtensorMap x_map = matrix_map(a.x, F, a.m, a.k, a.x_stride, T, P::kDepth, true);
  CUtensorMap w_map = matrix_map(a.w, F, int64_t(a.experts) * a.n, a.k, a.k, Fused ? 64 : 128, P::kDepth, true);
  CUtensorMap scale_map = x_map;
  if (F == Format::e4m3)
    scale_map = matrix_map(a.x_scale, Format::f32, scale_groups(a.k), a.x_scale_stride, a.x_scale_stride, 1, P::kScaleBox, false);
  LaunchShape shape{dim3(unsigned(2 * context.sm_count)), dim3(kStreamThreads), P::kSharedBytes};
  launch("sm90 stream", kernel, shape, context, x_map, w_map, scale_map, a, context.workspace);
}

template <Format F>
void launch_stream(const GemmArgs& a, int tokens, const GemmContext& context) {
  bool fused = a.epilogue == Epilogue::silu_mul;
  switch (tokens) {
    case 8: return fused ? launch_stream_as<F, 8, true>(a, context) : launch_stream_as<F, 8, false>(a, context);
    case 16: return fused ? launch_stream_as<F, 16, true>(a, context) : launch_stream_as<F, 16, false>(a, context);
    case 32: return fused ? launch_stream_as<F, 32, true>(a, context) : launch_stream_as<F, 32, false>(a, context);
    default: return fused ? launch_stream_as<F, 64, true>(a, context) : launch_stream_as<F, 64, false>(a, context);
  }
}

}  // namespace vl8::cuda::sm90

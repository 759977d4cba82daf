// Matrix product by tiles of ROWS x N outputs: one producer warp feeds a ring of shared-memory stages by TMA, two
// consumer warpgroups multiply by wgmma. Blocks are persistent and walk the tiles; two blocks of a cluster share the
// rows of x (each loads half and multicasts it), because at this tile size L2 bandwidth is the next limit after the
// tensor cores.
//
// E4M3 operands: four wgmma of 32 make one group of 128 features, whose sum is multiplied by (row scale * weight scale)
// and added in float32. That is what the scales mean, and it also repairs the tensor cores' 14-bit FP8 accumulation.
// BF16 operands accumulate in place.
#pragma once
#include "cuda/fragment_store.cuh"
#include "cuda/launch.h"
#include "cuda/sm90/gemm/tiles.h"
#include "cuda/sm90/ptx.cuh"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/wgmma.cuh"

namespace vl8::cuda::sm90 {

constexpr int kRowBytes = 128;  // of one stage: one swizzle atom

template <Format F, int MW, int N, bool Fused>
struct TilePlan {
  static constexpr int kRows = 128 * MW;                       // of x; each consumer warpgroup has 64 MW of them
  static constexpr int kDepth = F == Format::e4m3 ? 128 : 64;  // features of a stage
  static constexpr int kXBytes = kRows * kRowBytes, kWBytes = N * kRowBytes;
  // Scales come in boxes that start at a multiple of 16 bytes (the copy engine takes no other start; rows of an expert begin
  // anywhere): up to 3 rows before the tile, so a box is 4 longer than the rows that it serves.
  static constexpr int kScaleBoxes = F == Format::e4m3 ? kRows / 128 : 0, kScaleBox = 132;
  static constexpr int kScaleBytes = F == Format::e4m3 ? ((kRows + 4) * 4 + 127) / 128 * 128 : 0;
  static constexpr int kTxBytes = kXBytes + kWBytes + kScaleBoxes * kScaleBox * 4;
  static constexpr int kStageBytes = (kXBytes + kWBytes + 1023) / 1024 * 1024;
  static constexpr int kStages = (227 * 1024 - 2048) / (kStageBytes + kScaleBytes);
  static constexpr int kSharedBytes = 1024 + kStages * (kStageBytes + kScaleBytes) + 2 * 8 * kStages;
  static constexpr int kOutColumns = Fused ? N / 2 : N;
};

struct TileWalk {
  int expert, row0, row_end, column_tile;  // column_tile counts cluster-wide pairs
};

// Tiles in the order in which clusters take them: m runs fastest inside bands of `band` row tiles, so that a band of x
// stays in L2 while W streams past once. With experts, bands end at the expert's last row.
template <int Rows>
struct TileOrder {
  int column_pairs, band, expert = 0, before = 0;  // `before`: tiles of the experts before this one

  __device__ bool find(const GemmArgs& a, int index, TileWalk& t) {
    for (;;) {
      int first = a.offsets ? a.offsets[expert] : 0, end = a.offsets ? a.offsets[expert + 1] : a.m;
      int row_tiles = (end - first + Rows - 1) / Rows, tiles = row_tiles * column_pairs;
      if (index < before + tiles) {
        int i = index - before, band_tiles = band * column_pairs, b = i / band_tiles;
        int height = min(band, row_tiles - b * band), r = i - b * band_tiles;
        t = {expert, first + (b * band + r % height) * Rows, end, r / height};
        return true;
      }
      before += tiles;
      if (++expert >= a.experts) return false;
    }
  }
};

// Multiplies the fragment by the scales of its weight rows. With Fused, columns N / 2 .. N are rows of `up`.
template <int N, bool Fused>
__device__ __forceinline__ void scale_columns(const GemmArgs& a, int expert, int column, float (&d)[N / 2]) {
#pragma unroll
  for (int j = 0; j < N / 8; ++j)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      bool up = Fused && j >= N / 16;
      int col = column + 8 * (up ? j - N / 16 : j) + 2 * (threadIdx.x % 4) + c;
      float s = col < a.columns ? a.w_scale[size_t(expert) * a.n + col + (up ? a.columns : 0)] : 0.0f;
      d[4 * j + c] *= s, d[4 * j + 2 + c] *= s;
    }
}

template <Format F, int MW, int N, int Cluster, bool Fused>
__global__ void __launch_bounds__(384, 1)
    tiles_kernel(const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map,
                 const __grid_constant__ CUtensorMap scale_map, const GemmArgs a, int band) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using P = TilePlan<F, MW, N, Fused>;
  static_assert(F == Format::bf16 || N == 128, "an E4M3 tile has one block of weight scales, or one of gate and one of up");
  VL8_DYNAMIC_SHARED(uint8_t, raw);
  uint8_t* stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
  float* scales = reinterpret_cast<float*>(stages + P::kStages * P::kStageBytes);
  uint64_t* full = reinterpret_cast<uint64_t*>(reinterpret_cast<uint8_t*>(scales) + P::kStages * P::kScaleBytes);
  uint64_t* empty = full + P::kStages;
  int group = threadIdx.x / 128;
  uint32_t rank = Cluster > 1 ? cluster_rank() : 0;

  if (threadIdx.x == 0) {
    for (int s = 0; s < P::kStages; ++s) {
      barrier_init(&full[s], 1);
      barrier_init(&empty[s], 8 * Cluster);  // one arrival a consumer warp and block
    }
    barrier_init_fence();
    tma_prefetch(&x_map), tma_prefetch(&w_map);
  }
  if (Cluster > 1) cluster_sync(); else __syncthreads();
  launch_dependents();

  int column_tiles = (a.columns + P::kOutColumns - 1) / P::kOutColumns;
  TileOrder<P::kRows> order{(column_tiles + Cluster - 1) / Cluster, band};
  int depth_blocks = (a.k + P::kDepth - 1) / P::kDepth;
  TileWalk t;
  int stage = 0;
  uint32_t phase = 0;
  auto advance = [&] {
    if (++stage == P::kStages) stage = 0, phase ^= 1;
  };

  if (group == 0) {
    registers_lower<40>();
    if (threadIdx.x == 0) {
      wait_for_previous();
      for (int i = blockIdx.x / Cluster; order.find(a, i, t); i += gridDim.x / Cluster) {
        int column = (t.column_tile * Cluster + int(rank)) * P::kOutColumns, w_row = t.expert * a.n + column;
        for (int kb = 0; kb < depth_blocks; ++kb) {
          barrier_wait_cluster(&empty[stage], phase ^ 1);
          uint8_t* xs = stages + stage * P::kStageBytes;
          uint8_t* ws = xs + P::kXBytes;
          barrier_arrive_expect(&full[stage], P::kTxBytes);
          int k0 = kb * P::kDepth;
          if constexpr (Cluster > 1) {
            constexpr int part = P::kRows / Cluster;
            tma_load_multicast(xs + rank * part * kRowBytes, &x_map, &full[stage], k0, t.row0 + int(rank) * part,
                               uint16_t((1 << Cluster) - 1), kEvictNormal);
          } else {
            tma_load(xs, &x_map, &full[stage], k0, t.row0, kEvictNormal);
          }
          if constexpr (Fused) {
            tma_load(ws, &w_map, &full[stage], k0, w_row, kEvictNormal);
            tma_load(ws + N / 2 * kRowBytes, &w_map, &full[stage], k0, w_row + a.columns, kEvictNormal);
          } else {
            tma_load(ws, &w_map, &full[stage], k0, w_row, kEvictNormal);
          }
          if constexpr (F == Format::e4m3)
            for (int b = 0; b < P::kScaleBoxes; ++b)
              tma_load(scales + stage * (P::kScaleBytes / 4) + 128 * b, &scale_map, &full[stage], (t.row0 & ~3) + 128 * b, kb, kEvictNormal);
          advance();
        }
      }
    }
  } else {
    registers_raise<232>();
    wait_for_previous();  // y and the residual are touched by these threads
    int own_row = (group - 1) * 64 * MW + (threadIdx.x % 128) / 32 * 16 + threadIdx.x % 32 / 4;
    for (int i = blockIdx.x / Cluster; order.find(a, i, t); i += gridDim.x / Cluster) {
      int column = (t.column_tile * Cluster + int(rank)) * P::kOutColumns;
      float sum[MW][N / 2] = {};
      auto release = [&](int s) {
        __syncwarp();  // every lane has read its scales
        if (threadIdx.x % 32 < Cluster) {
          if constexpr (Cluster > 1)
            barrier_arrive_remote(&empty[s], threadIdx.x % 32);
          else
            barrier_arrive(&empty[s]);
        }
      };
      if constexpr (F == Format::e4m3) {
        // Weight scales of this tile's one or two blocks of 128 rows; rows past the end are clamped, never stored.
        bool blocks = a.w_scales == Scales::block;
        int last_block = (a.n + 127) / 128 - 1;
        int second = Fused ? column + a.columns : column + N - 1;
        const float* s0 = a.w_scale + (size_t(t.expert) * (last_block + 1) + min(column / 128, last_block)) * depth_blocks;
        const float* s1 = a.w_scale + (size_t(t.expert) * (last_block + 1) + min(second / 128, last_block)) * depth_blocks;
        float next0 = blocks ? s0[0] : 1.0f, next1 = blocks ? s1[0] : 1.0f;
        for (int kb = 0; kb < depth_blocks; ++kb) {
          float w0 = next0, w1 = next1;
          if (blocks && kb + 1 < depth_blocks) next0 = s0[kb + 1], next1 = s1[kb + 1];
          barrier_wait_cluster(&full[stage], phase);
          const uint8_t* xs = stages + stage * P::kStageBytes;
          uint64_t wd = matrix_descriptor(xs + P::kXBytes);
#pragma unroll
          for (int m = 0; m < MW; ++m) {
            float part[N / 2];
            uint64_t xd = matrix_descriptor(xs + ((group - 1) * MW + m) * 64 * kRowBytes);
            const float* x_scales = scales + stage * (P::kScaleBytes / 4) + (t.row0 & 3) + own_row + 64 * m;
            float x0 = x_scales[0], x1 = x_scales[8];
#pragma unroll
            for (int j = 0; j < N / 2; ++j) pin(part[j]);
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < 4; ++k) Wgmma<F, N>::run(part, xd + 2 * k, wd + 2 * k, k != 0);
            wgmma_commit();
#pragma unroll
            for (int j = 0; j < N / 2; ++j) pin(part[j]);
            wgmma_wait<0>();
            if (m == MW - 1) release(stage);
            float scale[2][2] = {{x0 * w0, x1 * w0}, {x0 * w1, x1 * w1}};
#pragma unroll
            for (int j = 0; j < N / 2; ++j) {
              int second_half = j >= N / 4;
              sum[m][j] = fmaf(scale[second_half][j % 4 / 2], part[j], sum[m][j]);
            }
          }
          advance();
        }
      } else {
        int previous = -1;
        for (int kb = 0; kb < depth_blocks; ++kb) {
          barrier_wait_cluster(&full[stage], phase);
          const uint8_t* xs = stages + stage * P::kStageBytes;
          uint64_t wd = matrix_descriptor(xs + P::kXBytes);
#pragma unroll
          for (int m = 0; m < MW; ++m)
#pragma unroll
            for (int j = 0; j < N / 2; ++j) pin(sum[m][j]);
          wgmma_fence();
#pragma unroll
          for (int m = 0; m < MW; ++m) {
            uint64_t xd = matrix_descriptor(xs + ((group - 1) * MW + m) * 64 * kRowBytes);
#pragma unroll
            for (int k = 0; k < 4; ++k) Wgmma<F, N>::run(sum[m], xd + 2 * k, wd + 2 * k, 1);
          }
          wgmma_commit();
#pragma unroll
          for (int m = 0; m < MW; ++m)
#pragma unroll
            for (int j = 0; j < N / 2; ++j) pin(sum[m][j]);
          wgmma_wait<1>();
          if (previous >= 0) release(previous);
          previous = stage;
          advance();
        }
        wgmma_wait<0>();
#pragma unroll
        for (int m = 0; m < MW; ++m)
#pragma unroll
          for (int j = 0; j < N / 2; ++j) pin(sum[m][j]);
        release(previous);
      }
#pragma unroll
      for (int m = 0; m < MW; ++m) {
        if (a.w_scales == Scales::row) scale_columns<N, Fused>(a, t.expert, column, sum[m]);
        FragmentPlace place{t.row0 + own_row + 64 * m, t.row_end, column};
        if constexpr (Fused) {
          float gated[N / 4];
#pragma unroll
          for (int j = 0; j < N / 4; ++j) gated[j] = silu(sum[m][j]) * sum[m][j + N / 4];
          store_fragment<N / 16>(a, place, gated);
        } else {
          store_fragment<N / 8>(a, place, sum[m]);
        }
      }
    }
  }
  if (Cluster > 1) cluster_sync();  // a block must outlive the arrivals and multicasts of its peer
#endif
}

template <Format F, int MW, int N, int Cluster, bool Fused>
void launch_tiles_as(const GemmArgs& a, int band, const GemmContext& context) {
  using P = TilePlan<F, MW, N, Fused>;
  auto kernel = tiles_kernel<F, MW, N, Cluster, Fused>;
  static bool allowed = (allow_shared(kernel, P::kSharedBytes), true);
  (void)allowed;
  int64_t w_rows = int64_t(a.experts) * a.n;
  CUtensorMap x_map = matrix_map(a.x, F, a.m, a.k, a.x_stride, P::kRows / Cluster, P::kDepth, true);
  CUtensorMap w_map = matrix_map(a.w, F, w_rows, a.k, a.k, Fused ? N / 2 : N, P::kDepth, true);
  CUtensorMap scale_map = x_map;
  if (F == Format::e4m3)
    scale_map = matrix_map(a.x_scale, Format::f32, scale_groups(a.k), a.x_scale_stride, a.x_scale_stride, 1, P::kScaleBox, false);
  int clusters = context.sm_count / Cluster;
  if (!a.offsets) {
    int64_t columns = (a.columns + P::kOutColumns - 1) / P::kOutColumns;
    int64_t tiles = int64_t((a.m + P::kRows - 1) / P::kRows) * ((columns + Cluster - 1) / Cluster);
    if (tiles < clusters) clusters = int(tiles);
  }
  LaunchShape shape{dim3(unsigned(clusters * Cluster)), dim3(384), P::kSharedBytes, Cluster};
  launch("sm90 tiles", kernel, shape, context, x_map, w_map, scale_map, a, band);
}

}  // namespace vl8::cuda::sm90

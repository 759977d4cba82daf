// Tiles of ROWS x 128 outputs, 8 warps, a ring of stages filled by cp.async. E4M3 meets the tensor cores as E4M3 where
// they take it (8.9), else widened exactly in registers: to FP16 against E4M3, to BF16 against BF16.
//
// The order of features inside a product is free as long as both operands agree, so a lane reads the 8 features that lie
// together in memory (8 or 16 bytes) and feeds them as two k steps; no ldmatrix, no repacked weights. Rows are swizzled
// so that those reads meet no bank conflict.
#pragma once
#include "cuda/fragment_store.cuh"
#include "cuda/launch.h"
#include "cuda/sm80/gemm/mma.h"
#include "cuda/sm80/ptx.cuh"

namespace vl8::cuda {

constexpr int kMmaThreads = 256, kMmaColumns = 128;
constexpr int kMmaCounterBytes = kStreamMaxTiles * 4;  // as in sm90/gemm/stream.cuh: the same counters, zero between launches

template <Format X, Format W, int ROWS>
struct MmaPlan {
  static constexpr int kDepth = X == Format::e4m3 ? 128 : 64;
  static constexpr int kXRow = kDepth * kBytes<X>, kWRow = kDepth * kBytes<W>;  // bytes
  static constexpr int kXBytes = ROWS * kXRow, kWBytes = kMmaColumns * kWRow;
  static constexpr int kScaleBytes = X == Format::e4m3 ? ROWS * 4 : 0;
  static constexpr int kStageBytes = kXBytes + kWBytes + kScaleBytes;
  static constexpr int kStages = 96 * 1024 / kStageBytes > 6 ? 6 : 96 * 1024 / kStageBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static constexpr int kWarpsM = ROWS == 128 ? 2 : 1, kWarpsN = 8 / kWarpsM;
  static constexpr int kWarpRows = ROWS / kWarpsM, kWarpColumns = kMmaColumns / kWarpsN;
  static constexpr int kM = kWarpRows / 16, kN = kWarpColumns / 8;  // mma tiles of a warp
};

// Offset of byte `b` of row `r`; rows of RowBytes, read LaneBytes (8 or 16) a lane by 4 lanes a row.
template <int RowBytes, int LaneBytes>
__device__ __forceinline__ int swizzled(int r, int b) {
  constexpr int piece = 4 * LaneBytes;  // what a row gives to one read
  int key = RowBytes == 64 ? (r >> 1) & 1 : piece == 32 ? r & 3 : r & 1;
  return r * RowBytes + ((b / piece) ^ key) * piece + b % piece;
}

// Without FP8 units both E4M3 operands are widened 2^-8 too small.
#ifdef VL8_FP8_UNITS
constexpr float kE4m3ProductUnit = 1.0f;
#else
constexpr float kE4m3ProductUnit = 65536.0f;
#endif

// A lane's 8 features of one row, as the registers of two k steps of 16 (BF16, FP16) or one of 32 (E4M3).
template <Format F>
struct LaneBytes {
  static constexpr int value = 8 * kBytes<F>;
};

template <Format X, Format W, int ROWS>
__global__ void __launch_bounds__(kMmaThreads, ROWS == 128 ? 1 : 2) mma_kernel(const GemmArgs a, void* workspace) {
  using P = MmaPlan<X, W, ROWS>;
  VL8_DYNAMIC_SHARED(uint8_t, stages);
  __shared__ int arrived;
  launch_dependents();
  wait_for_previous();
  bool fused = a.epilogue == Epilogue::silu_mul, scaled = W == Format::e4m3 && a.w_scales == Scales::block;
  int out_columns = fused ? kMmaColumns / 2 : kMmaColumns, column = blockIdx.x * out_columns;

  // Row tile blockIdx.y of all experts' row tiles.
  int expert = 0, row0 = blockIdx.y * ROWS, row_end = a.m;
  if (a.offsets) {
    for (int before = 0;; ++expert) {
      if (expert == a.experts) return;
      int first = a.offsets[expert], tiles = (a.offsets[expert + 1] - first + ROWS - 1) / ROWS;
      if (int(blockIdx.y) < before + tiles) {
        row0 = first + (int(blockIdx.y) - before) * ROWS, row_end = a.offsets[expert + 1];
        break;
      }
      before += tiles;
    }
  }
  auto w_row = [&](int c) {  // row of W behind column c of the tile
    return fused ? column + c % (kMmaColumns / 2) + (c < kMmaColumns / 2 ? 0 : a.columns) : column + c;
  };
  const uint8_t* x = static_cast<const uint8_t*>(a.x);
  const uint8_t* w = static_cast<const uint8_t*>(a.w) + size_t(expert) * a.n * a.k * kBytes<W>;
  int depth_blocks = (a.k + P::kDepth - 1) / P::kDepth;
  int kb0 = int(int64_t(depth_blocks) * blockIdx.z / gridDim.z), kb1 = int(int64_t(depth_blocks) * (blockIdx.z + 1) / gridDim.z);

  auto fetch = [&](int kb, int s) {
    uint8_t* xs = stages + s * P::kStageBytes;
    uint8_t* ws = xs + P::kXBytes;
    for (int i = threadIdx.x; i < P::kXBytes / 16; i += kMmaThreads) {
      int r = i / (P::kXRow / 16), b = i % (P::kXRow / 16) * 16;
      int64_t k_byte = int64_t(kb) * P::kXRow + b;
      bool inside = row0 + r < row_end && k_byte < a.k * kBytes<X>;
      cp_async16(xs + swizzled<P::kXRow, LaneBytes<X>::value>(r, b),
                   x + (inside ? size_t(row0 + r) * a.x_stride * kBytes<X> + k_byte : 0), inside);
    }
    for (int i = threadIdx.x; i < P::kWBytes / 16; i += kMmaThreads) {
      int r = i / (P::kWRow / 16), b = i % (P::kWRow / 16) * 16, row = w_row(r);
      int64_t k_byte = int64_t(kb) * P::kWRow + b;
      bool inside = row < a.n && k_byte < a.k * kBytes<W>;
      cp_async16(ws + swizzled<P::kWRow, LaneBytes<W>::value>(r, b),
                   w + (inside ? size_t(row) * a.k * kBytes<W> + k_byte : 0), inside);
    }
    if constexpr (X == Format::e4m3)
      if (threadIdx.x < ROWS) {
        bool inside = row0 + int(threadIdx.x) < row_end;
        cp_async4(ws + P::kWBytes + threadIdx.x * 4,
                    a.x_scale + (inside ? size_t(kb) * a.x_scale_stride + row0 + threadIdx.x : 0), inside);
      }
  };

  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  int warp_m = warp % P::kWarpsM, warp_n = warp / P::kWarpsM;
  // First column of mma tile j: with silu_mul the first half of a warp's tiles is gate, the second the same of up.
  auto tile_column = [&](int j) {
    if (!fused) return warp_n * P::kWarpColumns + 8 * j;
    constexpr int half = P::kN / 2;
    return warp_n * (P::kWarpColumns / 2) + 8 * (j % half) + (j < half ? 0 : kMmaColumns / 2);
  };
  int scale_rows = (a.n + 127) / 128, groups = (a.k + 127) / 128;
  const float* s0 = a.w_scale + (size_t(expert) * scale_rows + min(column / 128, scale_rows - 1)) * groups;
  const float* s1 = fused ? a.w_scale + (size_t(expert) * scale_rows + min((column + a.columns) / 128, scale_rows - 1)) * groups : s0;

  float sum[P::kM][4 * P::kN] = {};
#pragma unroll
  for (int s = 0; s < P::kStages - 1; ++s) {
    if (kb0 + s < kb1) fetch(kb0 + s, s);
    cp_commit();
  }
  int stage = 0;
  for (int kb = kb0; kb < kb1; ++kb) {
    cp_wait<P::kStages - 2>();
    __syncthreads();
    int ahead = kb + P::kStages - 1;
    if (ahead < kb1) fetch(ahead, (stage + P::kStages - 1) % P::kStages);
    cp_commit();
    const uint8_t* xs = stages + stage * P::kStageBytes;
    const uint8_t* ws = xs + P::kXBytes;
    const float* scales = reinterpret_cast<const float*>(ws + P::kWBytes);
    if (++stage == P::kStages) stage = 0;
    float w0 = 1.0f, w1 = 1.0f;
    if (scaled) w0 = s0[kb * P::kDepth / 128], w1 = s1[kb * P::kDepth / 128];
    if (X == Format::e4m3) w0 *= kE4m3ProductUnit, w1 *= kE4m3ProductUnit;

    float part[P::kM][4 * P::kN] = {};
#pragma unroll
    for (int c = 0; c < P::kDepth / 32; ++c) {
      uint32_t bw[P::kN][4];  // [step][2] for 16-bit operands; two registers for E4M3
#pragma unroll
      for (int j = 0; j < P::kN; ++j) {
        const uint8_t* p = ws + swizzled<P::kWRow, LaneBytes<W>::value>(tile_column(j) + g, (c * 4 + t) * LaneBytes<W>::value);
        if constexpr (W == Format::bf16) {
          uint4 v = *reinterpret_cast<const uint4*>(p);
          bw[j][0] = v.x, bw[j][1] = v.y, bw[j][2] = v.z, bw[j][3] = v.w;
        } else {
          uint2 v = *reinterpret_cast<const uint2*>(p);
          if constexpr (X == Format::bf16) {
            bw[j][0] = e4m3_to_bf16x2<0>(v.x), bw[j][1] = e4m3_to_bf16x2<1>(v.x);
            bw[j][2] = e4m3_to_bf16x2<0>(v.y), bw[j][3] = e4m3_to_bf16x2<1>(v.y);
          } else {
#ifdef VL8_FP8_UNITS
            bw[j][0] = v.x, bw[j][1] = v.y;
#else
            bw[j][0] = e4m3_to_f16x2_small<0>(v.x), bw[j][1] = e4m3_to_f16x2_small<1>(v.x);
            bw[j][2] = e4m3_to_f16x2_small<0>(v.y), bw[j][3] = e4m3_to_f16x2_small<1>(v.y);
#endif
          }
        }
      }
#pragma unroll
      for (int i = 0; i < P::kM; ++i) {
        uint32_t ax[2][4];  // [row g, g + 8][as bw]
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const uint8_t* p = xs + swizzled<P::kXRow, LaneBytes<X>::value>(warp_m * P::kWarpRows + 16 * i + 8 * h + g,
                                                                          (c * 4 + t) * LaneBytes<X>::value);
          if constexpr (X == Format::bf16) {
            uint4 v = *reinterpret_cast<const uint4*>(p);
            ax[h][0] = v.x, ax[h][1] = v.y, ax[h][2] = v.z, ax[h][3] = v.w;
          } else {
            uint2 v = *reinterpret_cast<const uint2*>(p);
#ifdef VL8_FP8_UNITS
            ax[h][0] = v.x, ax[h][1] = v.y;
#else
            ax[h][0] = e4m3_to_f16x2_small<0>(v.x), ax[h][1] = e4m3_to_f16x2_small<1>(v.x);
            ax[h][2] = e4m3_to_f16x2_small<0>(v.y), ax[h][3] = e4m3_to_f16x2_small<1>(v.y);
#endif
          }
        }
#pragma unroll
        for (int j = 0; j < P::kN; ++j) {
          if constexpr (X == Format::e4m3) {
#ifdef VL8_FP8_UNITS
            const uint32_t regs[4] = {ax[0][0], ax[1][0], ax[0][1], ax[1][1]};
            mma_e4m3_16832(&part[i][4 * j], regs, bw[j]);
#else
#pragma unroll
            for (int s = 0; s < 2; ++s) {
              const uint32_t regs[4] = {ax[0][2 * s], ax[1][2 * s], ax[0][2 * s + 1], ax[1][2 * s + 1]};
              mma_f16_16816(&part[i][4 * j], regs, &bw[j][2 * s]);
            }
#endif
          } else {
#pragma unroll
            for (int s = 0; s < 2; ++s) {
              const uint32_t regs[4] = {ax[0][2 * s], ax[1][2 * s], ax[0][2 * s + 1], ax[1][2 * s + 1]};
              mma_bf16_16816(W == Format::e4m3 ? &part[i][4 * j] : &sum[i][4 * j], regs, &bw[j][2 * s]);
            }
          }
        }
      }
    }
    if constexpr (W == Format::e4m3) {
#pragma unroll
      for (int i = 0; i < P::kM; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float sx = X == Format::e4m3 ? scales[warp_m * P::kWarpRows + 16 * i + 8 * h + g] : 1.0f;
          float gate = sx * w0, up = sx * w1;
#pragma unroll
          for (int j = 0; j < P::kN; ++j)
#pragma unroll
            for (int c = 0; c < 2; ++c)
              sum[i][4 * j + 2 * h + c] =
                  fmaf(j < P::kN / 2 ? gate : up, part[i][4 * j + 2 * h + c], sum[i][4 * j + 2 * h + c]);
        }
    }
  }

  if (gridDim.z > 1) {  // sums of the blocks along k, added in their order by the last to arrive
    int* counter = static_cast<int*>(workspace) + blockIdx.y * gridDim.x + blockIdx.x;
    constexpr int floats = P::kM * 4 * P::kN;
    float* partials = reinterpret_cast<float*>(static_cast<char*>(workspace) + kMmaCounterBytes) +
                      size_t(blockIdx.y * gridDim.x + blockIdx.x) * gridDim.z * floats * kMmaThreads + threadIdx.x;
    for (int i = 0; i < P::kM; ++i)
#pragma unroll
      for (int j = 0; j < 4 * P::kN; ++j)
        partials[(size_t(blockIdx.z) * floats + i * 4 * P::kN + j) * kMmaThreads] = sum[i][j];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      arrived = atomicAdd(counter, 1);
      if (arrived == int(gridDim.z) - 1) *counter = 0;
    }
    __syncthreads();
    if (arrived != int(gridDim.z) - 1) return;
    __threadfence();
#pragma unroll
    for (int i = 0; i < P::kM; ++i)
#pragma unroll
      for (int j = 0; j < 4 * P::kN; ++j) {
        sum[i][j] = 0;
        for (int z = 0; z < int(gridDim.z); ++z)
          sum[i][j] += __ldcg(&partials[(size_t(z) * floats + i * 4 * P::kN + j) * kMmaThreads]);
      }
  }

#pragma unroll
  for (int i = 0; i < P::kM; ++i) {
    int row = row0 + warp_m * P::kWarpRows + 16 * i + g;
    if (a.w_scales == Scales::row) {
#pragma unroll
      for (int j = 0; j < P::kN; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          int r = w_row(tile_column(j) + 2 * t + c);
          float s = r < a.n ? a.w_scale[size_t(expert) * a.n + r] : 0.0f;
          sum[i][4 * j + c] *= s, sum[i][4 * j + 2 + c] *= s;
        }
    }
    FragmentPlace place{row, row_end, column + (fused ? warp_n * (P::kWarpColumns / 2) : warp_n * P::kWarpColumns)};
    if (fused) {
      float gated[2 * P::kN];
#pragma unroll
      for (int j = 0; j < 2 * P::kN; ++j) gated[j] = silu(sum[i][j]) * sum[i][j + 2 * P::kN];
      store_fragment<P::kN / 2>(a, place, gated);
    } else {
      store_fragment<P::kN>(a, place, sum[i]);
    }
  }
}

template <Format X, Format W, int ROWS>
void launch_mma_as(const GemmArgs& a, int splits, const GemmContext& context) {
  using P = MmaPlan<X, W, ROWS>;
  auto kernel = mma_kernel<X, W, ROWS>;
  static bool allowed = (allow_shared(kernel, P::kSharedBytes), true);
  (void)allowed;
  int out_columns = a.epilogue == Epilogue::silu_mul ? kMmaColumns / 2 : kMmaColumns;
  unsigned columns = unsigned((a.columns + out_columns - 1) / out_columns);
  unsigned rows = unsigned(a.offsets ? a.m / ROWS + a.experts : (a.m + ROWS - 1) / ROWS);
  launch("mma", kernel, {dim3(columns, rows, unsigned(splits)), dim3(kMmaThreads), P::kSharedBytes}, context, a,
         context.workspace);
}

}  // namespace vl8::cuda

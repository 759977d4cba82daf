// Tiles of 64 x 64 outputs, 256 threads of 4 x 4, operands widened to float32 on their way into shared memory.
#include "cuda/any/gemm/gemm_any.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kTile = 64, kDepth = 32, kThreads = 256;

// Row of W behind column `c` of a tile: with silu_mul the first half of the tile is gate, the second the same of up.
__device__ __forceinline__ int weight_row(const GemmArgs& a, int tile_col, int c) {
  if (a.epilogue != Epilogue::silu_mul) return tile_col + c < a.n ? tile_col + c : -1;
  int col = tile_col + c % (kTile / 2);
  return col < a.columns ? col + (c < kTile / 2 ? 0 : a.columns) : -1;
}

// y tile of rows [row0, row_end), grid (column tiles, row tiles, experts).
__global__ void __launch_bounds__(kThreads) gemm_any_kernel(const GemmArgs a) {
  __shared__ float xs[kDepth][kTile + 4], ws[kDepth][kTile + 4];
  launch_dependents();
  wait_for_previous();
  int expert = blockIdx.z;
  int first = a.offsets ? a.offsets[expert] : 0, end = a.offsets ? a.offsets[expert + 1] : a.m;
  bool fused = a.epilogue == Epilogue::silu_mul;
  int tile_col = blockIdx.x * (fused ? kTile / 2 : kTile);
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  size_t expert_w = size_t(expert) * a.n;

  for (int row0 = first + blockIdx.y * kTile; row0 < end; row0 += gridDim.y * kTile) {
    float sum[4][4] = {};
    for (int k0 = 0; k0 < a.k; k0 += kDepth) {
      for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
        int r = i / kDepth, kk = k0 + i % kDepth;
        float v = 0;
        if (row0 + r < end && kk < a.k) {
          v = load_as_f32(a.x, a.x_format, size_t(row0 + r) * a.x_stride + kk);
          if (a.x_format == Format::e4m3) v *= a.x_scale[size_t(kk / 128) * a.x_scale_stride + row0 + r];
        }
        xs[i % kDepth][r] = v;
        int wr = weight_row(a, tile_col, r);
        v = 0;
        if (wr >= 0 && kk < a.k)
          v = load_as_f32(a.w, a.w_format, (expert_w + wr) * a.k + kk) * weight_scale(a, expert, wr, kk / 128);
        ws[i % kDepth][r] = v;
      }
      __syncthreads();
#pragma unroll
      for (int kk = 0; kk < kDepth; ++kk) {
        float xv[4], wv[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) xv[i] = xs[kk][ty + 16 * i], wv[i] = ws[kk][tx + 16 * i];
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(xv[i], wv[j], sum[i][j]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int row = row0 + ty + 16 * i;
      if (row >= end) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        int col = tile_col + tx + 16 * j;
        if (fused) {
          if (j < 2 && col < a.columns) finish_silu_mul(a, row, col, sum[i][j], sum[i][(j + 2) % 4]);
        } else if (col < a.n) {
          finish(a, row, col, sum[i][j]);
        }
      }
    }
  }
}

// Sixteen lanes a (row, group of 128 features), 8 features each; BF16 rows of whole 16 bytes are read and written in one piece.
__global__ void quantize_rows_kernel(const void* x, Format format, int m, int k, int stride, uint8_t* q, float* scale,
                                     int scale_stride) {
  launch_dependents();
  wait_for_previous();
  int groups = (k + 127) / 128, lane = threadIdx.x % 16;
  int64_t unit = int64_t(blockIdx.x) * (blockDim.x / 16) + threadIdx.x / 16;
  bool live = unit < int64_t(m) * groups;  // all lanes stay for the exchange
  int row = live ? int(unit / groups) : 0, group = live ? int(unit % groups) : 0, first = group * 128 + lane * 8;
  bool wide = format == Format::bf16 && k % 8 == 0 && stride % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(q) % 8 == 0;
  float v[8] = {}, amax = 0;
  if (wide && live && first < k) {
    uint4 load = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x) + size_t(row) * stride + first);
    const uint32_t words[4] = {load.x, load.y, load.z, load.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = __uint_as_float(i % 2 ? words[i / 2] & 0xffff0000u : words[i / 2] << 16);
  } else if (!wide && live) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = first + i < k ? load_as_f32(x, format, size_t(row) * stride + first + i) : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) amax = fmaxf(amax, fabsf(v[i]));
#pragma unroll
  for (int d = 8; d; d /= 2) amax = fmaxf(amax, __shfl_xor_sync(~0u, amax, d));
  if (!live) return;
  float s = fmaxf(amax, 1e-10f) / 448.0f;
  if (lane == 0) scale[size_t(group) * scale_stride + row] = s;
  if (wide && first < k) {
    uint32_t out[2] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i / 4] |= uint32_t(f32_to_e4m3(v[i] / s)) << (8 * (i % 4));
    *reinterpret_cast<uint2*>(q + size_t(row) * k + first) = make_uint2(out[0], out[1]);
  } else if (!wide) {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (first + i < k) q[size_t(row) * k + first + i] = f32_to_e4m3(v[i] / s);
  }
}

}  // namespace

void launch_gemm_any(const GemmArgs& a, const GemmContext& context) {
  int tile_columns = a.epilogue == Epilogue::silu_mul ? kTile / 2 : kTile;
  unsigned columns = unsigned((a.columns + tile_columns - 1) / tile_columns);
  unsigned rows = unsigned((a.m + kTile - 1) / kTile);
  if (rows > 256) rows = 256;  // a block walks its rows; keeps the grid legal for any m
  if (a.offsets && rows > 16) rows = 16;
  launch("gemm_any", gemm_any_kernel, {dim3(columns, rows, unsigned(a.experts)), dim3(kThreads)}, context, a);
}

void launch_quantize_rows(const GemmInput& x, int k, void* q, float* scale, const GemmContext& context) {
  int64_t units = x.m * scale_groups(k);
  unsigned blocks = unsigned((units + 15) / 16);
  launch("quantize_rows", quantize_rows_kernel, {dim3(blocks), dim3(256)}, context, x.data, x.format, int(x.m), k,
         int(x.stride ? x.stride : k), static_cast<uint8_t*>(q), scale, int(scale_stride(x.m)));
}

}  // namespace vl8::cuda

// Writing the accumulators of a 64 x (8 N8) warpgroup product: bias, activation, residual, and a transposition inside
// each quad of lanes so that a lane owns 8 neighbouring columns of a row and every access to y is 16 bytes wide.
#pragma once
#include "cuda/device_math.cuh"

namespace vl8::cuda {

// 4 x 4 transposition of words inside a quad: word j of lane t becomes word t of lane j. Its own inverse.
__device__ __forceinline__ void quad_transpose(uint32_t (&w)[4]) {
  bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    uint32_t got = __shfl_xor_sync(~0u, odd ? w[i] : w[i + 1], 1);
    if (odd) w[i] = got; else w[i + 1] = got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    uint32_t got = __shfl_xor_sync(~0u, high ? w[i] : w[i + 2], 2);
    if (high) w[i] = got; else w[i + 2] = got;
  }
}

// What a tile needs to know to be written: rows [row, row_end), columns from `column`.
struct FragmentPlace {
  int row;      // row of d[4 j], d[4 j + 1]; d[4 j + 2], d[4 j + 3] are 8 below
  int row_end;  // first row that is not this tile's
  int column;   // first column of the tile
};

// d[4 j + 2 h + c] is row + 8 h, column + 8 j + 2 t + c. All lanes of the warp must call it.
template <int N8, typename Array>
__device__ __forceinline__ void store_fragment(const GemmArgs& a, const FragmentPlace& p, const Array& d) {
  int t = threadIdx.x % 4;
  bool wide = a.y_format == Format::bf16 && a.y_stride % 8 == 0 && a.columns % 8 == 0;
  bool wide_residual = wide && a.residual && a.residual_format == Format::bf16 && a.residual_stride % 8 == 0;
#pragma unroll
  for (int j0 = 0; j0 < N8; j0 += 4) {
    float bias[4][2] = {};
    if (a.bias) {
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          int col = p.column + 8 * (j0 + j) + 2 * t + c;
          if (j0 + j < N8 && col < a.columns) bias[j][c] = a.bias[col];
        }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      int row = p.row + 8 * h, own = p.column + 8 * (j0 + t);
      bool inside = row < p.row_end && j0 + t < N8 && own < a.columns;
      uint32_t words[4] = {};
      if (wide_residual) {
        if (inside) {
          const uint16_t* r = static_cast<const uint16_t*>(a.residual) + size_t(row) * a.residual_stride + own;
          uint4 v = *reinterpret_cast<const uint4*>(r);
          words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
        }
        quad_transpose(words);
      }
      float v[4][2];
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          v[j][c] = 0;
          if (j0 + j >= N8) continue;
          v[j][c] = activate(d[4 * (j0 + j) + 2 * h + c] + bias[j][c], a.epilogue);
          if (wide_residual) v[j][c] += __uint_as_float(c ? words[j] & 0xffff0000u : words[j] << 16);
        }
      if (wide) {
        if (a.residual && !wide_residual) {
#pragma unroll
          for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int c = 0; c < 2; ++c) {
              int col = p.column + 8 * (j0 + j) + 2 * t + c;
              if (row < p.row_end && j0 + j < N8 && col < a.columns)
                v[j][c] += load_as_f32(a.residual, a.residual_format, size_t(row) * a.residual_stride + col);
            }
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) words[j] = pack_bf16(v[j][0], v[j][1]);
        quad_transpose(words);
        if (inside)
          *reinterpret_cast<uint4*>(static_cast<uint16_t*>(a.y) + size_t(row) * a.y_stride + own) =
              make_uint4(words[0], words[1], words[2], words[3]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            int col = p.column + 8 * (j0 + j) + 2 * t + c;
            if (row >= p.row_end || j0 + j >= N8 || col >= a.columns) continue;
            float r = a.residual ? load_as_f32(a.residual, a.residual_format, size_t(row) * a.residual_stride + col) : 0;
            store_f32(a.y, a.y_format, size_t(row) * a.y_stride + col, v[j][c] + r);
          }
      }
    }
  }
}

}  // namespace vl8::cuda

// Matrix times one to four vectors, bound by reading W. A warp takes four rows of W (or two of gate and two of up) and
// 512 bytes of each at a time: 16 bytes a lane, the next step's loads in flight while this step's are used. x lies in
// shared memory as float32, ordered so that a lane's 16-byte reads meet no bank conflict. Where W has few rows, several
// warps of the block share a task along k.
//
// NOTE: scales multiply the sum over a lane's 16 features, never single weights: fewer multiplications, and the E4M3
// values stay exact until then.
#include "cuda/choose/gemm_choice.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.h"
#include "cuda/sm80/gemm/gemv.h"
#include "cuda/sm80/ptx.cuh"

namespace vl8::cuda {
namespace {

constexpr int kWarps = 16, kRows = 4;

template <Format F>
struct Lane {
  static constexpr int kElements = 16 / kBytes<F>;  // of one 16-byte load
  static constexpr int kChunk = 32 * kElements;
  // Float offset in shared memory of feature k: [chunk][quarter of a lane's elements][lane][4].
  static __device__ int place(int k) {
    int chunk = k / kChunk, lane = k % kChunk / kElements, quarter = k % kElements / 4;
    return ((chunk * (kElements / 4) + quarter) * 32 + lane) * 4 + k % 4;
  }
};

// Four weights as float32. Without FP8 units E4M3 comes out times 2^-8, which kE4m3Unit corrects.
#ifdef VL8_FP8_UNITS
constexpr float kE4m3Unit = 1.0f;
#else
constexpr float kE4m3Unit = 256.0f;
#endif
__device__ __forceinline__ void widen_e4m3(uint32_t word, float (&v)[4]) {
#ifdef VL8_FP8_UNITS
  uint32_t low = e4m3_to_f16x2_hardware<0>(word), high = e4m3_to_f16x2_hardware<1>(word);
#else
  uint32_t low = e4m3_to_f16x2_small<0>(word), high = e4m3_to_f16x2_small<1>(word);
#endif
  float2 a = __half22float2(reinterpret_cast<__half2&>(low)), b = __half22float2(reinterpret_cast<__half2&>(high));
  v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
}

// Elements 4 q .. 4 q + 3 of a 16-byte load.
template <Format F>
__device__ __forceinline__ void widen(const uint4& load, int q, float (&v)[4]) {
  const uint32_t words[4] = {load.x, load.y, load.z, load.w};
  if constexpr (F == Format::e4m3) {
    widen_e4m3(words[q], v);
  } else if constexpr (F == Format::bf16) {
    v[0] = __uint_as_float(words[2 * q] << 16), v[1] = __uint_as_float(words[2 * q] & 0xffff0000u);
    v[2] = __uint_as_float(words[2 * q + 1] << 16), v[3] = __uint_as_float(words[2 * q + 1] & 0xffff0000u);
  } else {
    v[0] = __uint_as_float(words[0]), v[1] = __uint_as_float(words[1]);
    v[2] = __uint_as_float(words[2]), v[3] = __uint_as_float(words[3]);
  }
}

template <Format F>
struct Step {
  uint4 w[kRows];
  float scale[2];  // of rows 0, 1 and of rows 2, 3
};

// split: warps that share a task along k, a power of two up to kWarps.
template <Format F, int M>
__global__ void __launch_bounds__(kWarps * 32, M == 1 ? 2 : 1) gemv_kernel(const GemmArgs a, int split) {
  using L = Lane<F>;
  VL8_DYNAMIC_SHARED(float, shared);
  launch_dependents();
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  bool fused = a.epilogue == Epilogue::silu_mul, grouped = a.offsets != nullptr, scaled = a.w_scales == Scales::block;
  int chunks = (a.k + L::kChunk - 1) / L::kChunk, groups = (a.k + 127) / 128;
  float* xs = shared;
  float* joins = shared + size_t(M) * chunks * L::kChunk;  // [kWarps][kRows * M]
  int outputs = fused ? kRows / 2 : kRows;                 // columns of y that a task makes
  int tasks = (a.columns + outputs - 1) / outputs;
  int lead = warp / split, part = warp % split, step_tasks = kWarps / split;

  int expert = 0, x_row = 0, rows = a.m;
  if (grouped) {  // blockIdx.y is the row; the experts are asked all at once, one latency instead of a search
    __shared__ int owner;
    wait_for_previous();
    x_row = blockIdx.y, rows = 1;
    for (int e = threadIdx.x; e < a.experts; e += kWarps * 32)
      if (a.offsets[e] <= x_row && x_row < a.offsets[e + 1]) owner = e;
    __syncthreads();
    expert = owner;
  }
  const uint8_t* w = static_cast<const uint8_t*>(a.w) + size_t(expert) * a.n * a.k * kBytes<F>;
  const float* w_scale = scaled ? a.w_scale + size_t(expert) * ((a.n + 127) / 128) * groups : nullptr;

  auto row_of = [&](int task, int r) {
    int row = fused ? task * 2 + (r & 1) + (r & 2 ? a.columns : 0) : task * kRows + r;
    return min(row, a.n - 1);  // rows past the end are read but not written
  };
  auto fetch = [&](int task, int chunk, Step<F>& s) {
    int k = chunk * L::kChunk + lane * L::kElements;
    bool inside = task < tasks && k < a.k;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      s.w[r] = inside ? load_streaming(w + (size_t(row_of(task, r)) * a.k + k) * kBytes<F>) : make_uint4(0, 0, 0, 0);
    if (F == Format::e4m3) {
      s.scale[0] = s.scale[1] = kE4m3Unit;
      if (scaled && inside) {
        s.scale[0] *= w_scale[size_t(row_of(task, 0) / 128) * groups + k / 128];
        s.scale[1] *= w_scale[size_t(row_of(task, 2) / 128) * groups + k / 128];
      }
    }
  };

  Step<F> now, next;
  int task = blockIdx.x * step_tasks + lead, chunk = part;
  fetch(task, chunk, now);
  if (!grouped) wait_for_previous();

  for (int i = threadIdx.x; i < M * chunks * L::kChunk; i += kWarps * 32) {
    int m = i / (chunks * L::kChunk), k = i % (chunks * L::kChunk);
    float v = 0;
    if (m < rows && k < a.k) {
      v = load_as_f32(a.x, a.x_format, size_t(x_row + m) * a.x_stride + k);
      if (a.x_format == Format::e4m3) v *= a.x_scale[size_t(k / 128) * a.x_scale_stride + x_row + m];
    }
    xs[m * chunks * L::kChunk + L::place(k)] = v;
  }
  __syncthreads();

  for (int base = blockIdx.x * step_tasks; base < tasks; base += gridDim.x * step_tasks) {
    task = base + lead;
    float sum[kRows][M] = {};
    for (chunk = part; chunk < chunks; chunk += split) {
      bool more = chunk + split < chunks;
      fetch(more ? task : task + int(gridDim.x) * step_tasks, more ? chunk + split : part, next);
      float p[kRows][M] = {};
#pragma unroll
      for (int q = 0; q < L::kElements / 4; ++q) {
        float4 x[M];
#pragma unroll
        for (int m = 0; m < M; ++m)
          x[m] = *reinterpret_cast<const float4*>(xs + m * chunks * L::kChunk +
                                                  ((chunk * (L::kElements / 4) + q) * 32 + lane) * 4);
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          float v[4];
          widen<F>(now.w[r], q, v);
#pragma unroll
          for (int m = 0; m < M; ++m)
            p[r][m] = fmaf(v[3], x[m].w, fmaf(v[2], x[m].z, fmaf(v[1], x[m].y, fmaf(v[0], x[m].x, p[r][m]))));
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m) sum[r][m] = F == Format::e4m3 ? fmaf(now.scale[r / 2], p[r][m], sum[r][m]) : sum[r][m] + p[r][m];
      now = next;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int d = 16; d; d /= 2) sum[r][m] += __shfl_xor_sync(~0u, sum[r][m], d);
    if (split > 1) {
      __syncthreads();  // the previous task's sums have been read
      if (lane == 0)
#pragma unroll
        for (int r = 0; r < kRows; ++r)
#pragma unroll
          for (int m = 0; m < M; ++m) joins[warp * kRows * M + r * M + m] = sum[r][m];
      __syncthreads();
      if (part) continue;
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int m = 0; m < M; ++m)
          for (int s = 1; s < split; ++s) sum[r][m] += joins[(warp + s) * kRows * M + r * M + m];
    }
    if (task >= tasks) continue;
    // Lane m * outputs + r writes column r of row m.
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        int col = task * outputs + r;
        if (lane != m * kRows + r || r >= outputs || m >= rows || col >= a.columns) continue;
        float v = sum[r][m], up = sum[(r + 2) % kRows][m];
        if (a.w_scales == Scales::row) {
          v *= a.w_scale[size_t(expert) * a.n + col];
          if (fused) up *= a.w_scale[size_t(expert) * a.n + a.columns + col];
        }
        if (fused)
          finish_silu_mul(a, x_row + m, col, v, up);
        else
          finish(a, x_row + m, col, v);
      }
  }
}

template <Format F, int M>
void launch_as(const GemmArgs& a, const GemmContext& context) {
  auto kernel = gemv_kernel<F, M>;
  static bool allowed = (allow_shared(kernel, kGemvSharedBytes), true);
  (void)allowed;
  int outputs = a.epilogue == Epilogue::silu_mul ? kRows / 2 : kRows, chunk = Lane<F>::kChunk;
  int tasks = (a.columns + outputs - 1) / outputs, chunks = (a.k + chunk - 1) / chunk;
  int rows = a.offsets ? a.m : 1, blocks = context.sm_count * (M == 1 ? 2 : 1);
  int split = gemv_split(int64_t(tasks) * rows, chunks, blocks, kWarps);
  int wanted = (tasks + kWarps / split - 1) / (kWarps / split);
  int shared = (M * chunks * chunk + kWarps * kRows * M) * 4;
  launch("gemv", kernel, {dim3(unsigned(wanted < blocks ? wanted : blocks), unsigned(rows)), dim3(kWarps * 32), shared},
         context, a, split);
}

template <Format F>
void launch_rows(const GemmArgs& a, const GemmContext& context) {
  if (a.offsets || a.m == 1) return launch_as<F, 1>(a, context);
  if (a.m == 2) return launch_as<F, 2>(a, context);
  launch_as<F, 4>(a, context);
}

}  // namespace

void launch_gemv(const GemmArgs& a, const GemmContext& context) {
  switch (a.w_format) {
    case Format::e4m3: return launch_rows<Format::e4m3>(a, context);
    case Format::bf16: return launch_rows<Format::bf16>(a, context);
    case Format::f32: return launch_rows<Format::f32>(a, context);
  }
}

}  // namespace vl8::cuda

// Element-wise verbs: copies, casts, sums. Bound by memory; eight elements a thread.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kThreads = 256;

template <typename From, typename To>
__global__ void cast_kernel(const From* x, To* y, int64_t n) {
  wait_for_previous();
  launch_dependents();
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += int64_t(gridDim.x) * kThreads)
    y[i] = from_f32<To>(to_f32(x[i]));
}

// One block a row; bytes is a multiple of 4.
__global__ void gather_kernel(const uint32_t* x, const int32_t* rows, int64_t words, uint32_t* y) {
  wait_for_previous();
  launch_dependents();
  const uint32_t* from = x + rows[blockIdx.x] * words;
  for (int64_t i = threadIdx.x; i < words; i += blockDim.x) y[blockIdx.x * words + i] = from[i];
}

template <typename T>
__global__ void embed_kernel(GemmWeight table, const int32_t* ids, T* y) {
  wait_for_previous();
  launch_dependents();
  const int64_t id = ids[blockIdx.x], k = table.k, groups = (k + 127) / 128;
  for (int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    float s = 1;
    if (table.scales == Scales::row) s = table.scale[id];
    if (table.scales == Scales::block) s = table.scale[id / 128 * groups + i / 128];
    if (table.scales == Scales::row_block) s = table.scale[id * groups + i / 128];
    y[blockIdx.x * k + i] = from_f32<T>(load_as_f32(table.data, table.format, size_t(id * k + i)) * s);
  }
}

template <typename T, bool accumulate>
__global__ void put_kernel(T* x, const T* src, int64_t n) {
  wait_for_previous();
  launch_dependents();
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += int64_t(gridDim.x) * kThreads)
    x[i] = accumulate ? from_f32<T>(to_f32(x[i]) + to_f32(src[i])) : src[i];
}

template <typename T>
__global__ void add_kernel(const T* x, const T* y, T* z, int64_t n) {
  wait_for_previous();
  launch_dependents();
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += int64_t(gridDim.x) * kThreads)
    z[i] = from_f32<T>(to_f32(x[i]) + to_f32(y[i]));
}

template <typename T>
__global__ void silu_mul_kernel(const T* gate_up, T* y, int64_t width) {
  wait_for_previous();
  launch_dependents();
  const T* row = gate_up + int64_t(blockIdx.y) * 2 * width;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < width; i += int64_t(gridDim.x) * kThreads)
    y[int64_t(blockIdx.y) * width + i] = from_f32<T>(silu(to_f32(row[i])) * to_f32(row[width + i]));
}

LaunchShape flat(int64_t n) { return {dim3(std::min<unsigned>(blocks_for(n, kThreads * 4), 65535u)), dim3(kThreads)}; }

}  // namespace

void cast_rows(const void* x, Format from, void* y, Format to, int64_t n, const GemmContext& ctx) {
  if (n == 0) return;
  with_act(from, [&](auto f) {
    with_act(to, [&](auto t) {
      using From = decltype(f);
      using To = decltype(t);
      launch("cast", cast_kernel<From, To>, flat(n), ctx, static_cast<const From*>(x), static_cast<To*>(y), n);
    });
  });
}

void gather_rows(const void* x, Format act, const int32_t* rows, int64_t n, int64_t c, void* y, const GemmContext& ctx) {
  if (n == 0) return;
  launch("gather", gather_kernel, {dim3(unsigned(n)), dim3(kThreads)}, ctx, static_cast<const uint32_t*>(x), rows,
         c * format_bytes(act) / 4, static_cast<uint32_t*>(y));
}

void embed_rows(const GemmWeight& table, const int32_t* ids, int64_t t, void* y, Format act, const GemmContext& ctx) {
  if (t == 0) return;
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("embed", embed_kernel<T>, {dim3(unsigned(t)), dim3(kThreads)}, ctx, table, ids, static_cast<T*>(y));
  });
}

void put_rows(void* x, const void* src, Format act, int64_t n, bool accumulate, const GemmContext& ctx) {
  if (n == 0) return;
  with_act(act, [&](auto v) {
    using T = decltype(v);
    auto kernel = accumulate ? put_kernel<T, true> : put_kernel<T, false>;
    launch("put rows", kernel, flat(n), ctx, static_cast<T*>(x), static_cast<const T*>(src), n);
  });
}

void add_rows(const void* x, const void* y, void* z, Format act, int64_t n, const GemmContext& ctx) {
  if (n == 0) return;
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("add", add_kernel<T>, flat(n), ctx, static_cast<const T*>(x), static_cast<const T*>(y), static_cast<T*>(z), n);
  });
}

void silu_mul_rows(const void* gate_up, void* y, Format act, int64_t t, int64_t width, const GemmContext& ctx) {
  if (t == 0) return;
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("silu_mul", silu_mul_kernel<T>, {dim3(blocks_for(width, kThreads), unsigned(t)), dim3(kThreads)}, ctx,
           static_cast<const T*>(gate_up), static_cast<T*>(y), width);
  });
}

}  // namespace vl8::cuda

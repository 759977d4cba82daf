// Kernels on the CPU: the same .cu files, compiled by the host compiler with this header in front (-include), so that
// their logic is tested on machines without a GPU. Threads of a block are fibers, blocks run one after another; barriers,
// warp exchanges, atomics and the matrix instructions of cuda/sm80/ptx.cuh behave as the CUDA programming guide and the PTX
// ISA define them. It says nothing about speed, memory ordering between blocks, or races inside one.
#pragma once
#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

namespace vl8::emulate {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
extern Index thread_index, block_index;  // of the running fiber
extern Index block_size, grid_size;

void run(dim3 grid, dim3 block, int shared_bytes, const std::function<void()>& body);
// Runs now, or when the graph that is being captured is launched.
void submit(std::function<void()> work);

void block_barrier();
void named_barrier(int id, int threads);
// Gives `value` (at most 64 bytes) of this lane to the warp and returns the warp's 32 slots, valid until the lane's next
// exchange. Lanes that have left the kernel keep their last value.
const char (*exchange(const void* value, size_t bytes))[64];
void* dynamic_shared();
void yield();  // lets other threads of the block run

template <typename T>
T shuffle(T value, int source) {
  T out;
  std::memcpy(&out, exchange(&value, sizeof(T))[source & 31], sizeof(T));
  return out;
}
inline int lane() { return int((thread_index.x + block_size.x * (thread_index.y + block_size.y * thread_index.z)) % 32); }

}  // namespace vl8::emulate

#undef __shared__
#undef __global__
#undef __device__
#undef __forceinline__
#undef __launch_bounds__
#undef __constant__
#undef __grid_constant__
#undef __restrict__
#define __shared__ static
#define __global__ static
#define __device__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define threadIdx (::vl8::emulate::thread_index)
#define blockIdx (::vl8::emulate::block_index)
#define blockDim (::vl8::emulate::block_size)
#define gridDim (::vl8::emulate::grid_size)

inline void __syncthreads() { ::vl8::emulate::block_barrier(); }
inline void __syncwarp(unsigned = ~0u) {
  char c = 0;
  ::vl8::emulate::exchange(&c, 1);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
template <typename T>
T __shfl_xor_sync(unsigned, T v, int mask, int width = 32) {
  (void)width;  // masks below the width stay inside it
  return ::vl8::emulate::shuffle(v, ::vl8::emulate::lane() ^ mask);
}
template <typename T>
T __shfl_sync(unsigned, T v, int source, int width = 32) {
  const int l = ::vl8::emulate::lane();
  return ::vl8::emulate::shuffle(v, l / width * width + source % width);
}
template <typename T>
T __shfl_up_sync(unsigned, T v, unsigned delta, int width = 32) {
  const int l = ::vl8::emulate::lane(), s = l - int(delta);
  return ::vl8::emulate::shuffle(v, s < l / width * width ? l : s);
}
template <typename T>
T __shfl_down_sync(unsigned, T v, unsigned delta, int width = 32) {
  const int l = ::vl8::emulate::lane(), s = l + int(delta);
  return ::vl8::emulate::shuffle(v, s >= (l / width + 1) * width ? l : s);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const char p = predicate != 0;
  auto slots = ::vl8::emulate::exchange(&p, 1);
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= unsigned(slots[i][0] != 0) << i;
  return out;
}
inline int __any_sync(unsigned m, int p) { return __ballot_sync(m, p) != 0; }
inline int __all_sync(unsigned m, int p) { return __ballot_sync(m, p) == ~0u; }
template <typename T, typename U>
T atomicAdd(T* p, U v) {
  T old = *p;
  *p = T(old + T(v));
  return old;
}
template <typename T>
T atomicExch(T* p, T v) {
  T old = *p;
  *p = v;
  return old;
}
template <typename T>
T atomicMax(T* p, T v) {
  T old = *p;
  if (v > old) *p = v;
  return old;
}
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline float __expf(float v) { return std::exp(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
template <typename T>
T __ldg(const T* p) { return *p; }
template <typename T>
T __ldcs(const T* p) { return *p; }
template <typename T>
T __ldcg(const T* p) { return *p; }
inline size_t __cvta_generic_to_shared(const void* p) { return reinterpret_cast<size_t>(p); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }

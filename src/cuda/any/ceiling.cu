#include "cuda/ceiling.h"

#include "cuda/launch.h"
#include "cuda/sm80/fragments.cuh"

namespace vl8 {
namespace {

using namespace cuda;

constexpr size_t kReadBytes = size_t(4) << 30;
constexpr int kLoads = 8, kThreads = 512, kProducts = 4096;

__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* p, int64_t n, uint32_t* out) {
  uint32_t sum = 0;
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += kLoads * step) {
    uint4 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) v[j] = i + j * step < n ? __ldcs(p + i + j * step) : uint4{};
#pragma unroll
    for (int j = 0; j < kLoads; ++j) sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x12345678u) *out = sum;  // keeps the loads
}

__global__ void __launch_bounds__(256) mma_kernel(float* out) {
  float d[8][4] = {};
  uint32_t a[4] = {threadIdx.x, 1, 2, 3};
  for (int i = 0; i < kProducts / 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j) sm80::mma_bf16(d[j], a, 0x3f803f80u + uint32_t(j), 0x3f80u);
  float sum = 0;
  for (int j = 0; j < 8; ++j) sum += d[j][0] + d[j][1] + d[j][2] + d[j][3];
  if (sum == 12345.0f) *out = sum;
}

// Best of several runs in milliseconds: a ceiling is what can be reached.
template <typename F>
double best_ms(cudaStream_t stream, F run) {
  cudaEvent_t begin, end;
  check_cuda(cudaEventCreate(&begin), "event"), check_cuda(cudaEventCreate(&end), "event");
  double best = 1e30;
  for (int i = 0; i < 6; ++i) {
    float ms = 0;
    check_cuda(cudaEventRecord(begin, stream), "ceiling");
    run();
    check_cuda(cudaEventRecord(end, stream), "ceiling");
    check_cuda(cudaEventSynchronize(end), "ceiling");
    check_cuda(cudaEventElapsedTime(&ms, begin, end), "ceiling");
    if (i > 0 && ms < best) best = ms;
  }
  cudaEventDestroy(begin), cudaEventDestroy(end);
  return best;
}

}  // namespace

CudaCeiling measure_cuda_ceiling(int device) {
  cudaDeviceProp p{};
  check_cuda(cudaGetDeviceProperties(&p, device), "device");
  size_t free_bytes = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total), "device");
  const size_t bytes = (free_bytes / 2 < kReadBytes ? free_bytes / 2 : kReadBytes) / 4096 * 4096;
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes + 256), "memory for the read ceiling");
  GemmContext ctx;
  ctx.sm = p.major * 10 + p.minor, ctx.sm_count = p.multiProcessorCount;
  check_cuda(cudaMemsetAsync(memory, 1, bytes + 256, nullptr), "ceiling");
  auto* words = static_cast<const uint4*>(memory);
  auto* out = reinterpret_cast<uint32_t*>(static_cast<char*>(memory) + bytes);
  CudaCeiling c;
  const dim3 blocks(unsigned(ctx.sm_count * 4));
  c.read_gb_per_s = double(bytes) / 1e6 / best_ms(nullptr, [&] {
    launch("read ceiling", read_kernel, {blocks, dim3(kThreads)}, ctx, words, int64_t(bytes / sizeof(uint4)), out);
  });
  const double flops = double(blocks.x) * 8 * kProducts * 2 * 16 * 8 * 16;
  c.mma_bf16_tflops = flops / 1e9 / best_ms(nullptr, [&] { launch("mma ceiling", mma_kernel, {blocks, dim3(256)}, ctx, reinterpret_cast<float*>(out)); });
  cudaFree(memory);
  return c;
}

}  // namespace vl8

// Device helpers of gemm_bench: random operands, comparison, and the read ceiling.
#include "cuda/device_math.cuh"
#include "gemm_bench.h"

namespace vl8::cuda {
namespace {

__device__ uint32_t mix(uint64_t x) {
  x ^= x >> 33, x *= 0xff51afd7ed558ccdull, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53ull, x ^= x >> 33;
  return uint32_t(x);
}
// Near-normal: sum of four uniforms, unit variance.
__device__ float normal(uint64_t seed, uint64_t i) {
  float s = 0;
  for (int j = 0; j < 4; ++j) s += float(mix(seed * 0x9e3779b97f4a7c15ull + i * 4 + j) >> 8) * (1.0f / 16777216.0f);
  return (s - 2.0f) * 1.7320508f;
}
__global__ void fill(void* p, Format format, size_t n, float scale, uint64_t seed) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < n; i += size_t(gridDim.x) * blockDim.x) {
    float v = normal(seed, i) * scale;
    if (format == Format::e4m3)
      static_cast<uint8_t*>(p)[i] = f32_to_e4m3(v);
    else
      store_f32(p, format, i, v);
  }
}
__global__ void fill_scale(float* p, size_t n, uint64_t seed) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < n; i += size_t(gridDim.x) * blockDim.x)
    p[i] = 0.01f + 0.05f * float(mix(seed * 77 + i) >> 8) * (1.0f / 16777216.0f);
}
__global__ void difference(const void* a, const void* b, Format format, size_t n, double* out) {
  double d = 0, r = 0;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < n; i += size_t(gridDim.x) * blockDim.x) {
    double x = load_as_f32(a, format, i), y = static_cast<const float*>(b)[i];
    d += (x - y) * (x - y), r += y * y;
  }
  atomicAdd(&out[0], d), atomicAdd(&out[1], r);
}
__global__ void read(const uint4* p, size_t n, uint32_t* sink) {
  uint32_t x = 0;
  size_t stride = size_t(gridDim.x) * blockDim.x, i = blockIdx.x * size_t(blockDim.x) + threadIdx.x;
  for (; i + 3 * stride < n; i += 4 * stride) {
    uint4 a = p[i], b = p[i + stride], c = p[i + 2 * stride], d = p[i + 3 * stride];
    x ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  if (x == 0x12345678u) *sink = x;
}

// One warp a (row, head): plain online softmax in float32. `strides` in elements.
__global__ void attention_reference(const uint16_t* q, const uint16_t* k, const uint16_t* v, float* out, int rows, int heads, int kv_heads,
                                    int d, int q_stride, int kv_stride, bool causal) {
  int unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (unit >= rows * heads) return;
  int row = unit / heads, head = unit % heads, kv = head / (heads / kv_heads);
  float m = -INFINITY, l = 0, acc[4] = {};
  for (int j = 0; j < (causal ? row + 1 : rows); ++j) {
    float s = 0;
    for (int c = lane; c < d; c += 32)
      s += bf16_bits_to_f32(q[size_t(row) * q_stride + head * d + c]) * bf16_bits_to_f32(k[size_t(j) * kv_stride + kv * d + c]);
    for (int o = 16; o; o /= 2) s += __shfl_xor_sync(~0u, s, o);
    s *= rsqrtf(float(d));
    float n = fmaxf(m, s), shrink = expf(m - n), p = expf(s - n);
    m = n, l = l * shrink + p;
    for (int i = 0; i < 4; ++i)
      if (lane + 32 * i < d) acc[i] = acc[i] * shrink + p * bf16_bits_to_f32(v[size_t(j) * kv_stride + kv * d + lane + 32 * i]);
  }
  for (int i = 0; i < 4; ++i)
    if (lane + 32 * i < d) out[(size_t(row) * heads + head) * d + lane + 32 * i] = acc[i] / l;
}
// [rows, kv_heads, d] to pages [rows / page_tokens, kv_heads, page_tokens, d].
__global__ void to_pages(const uint16_t* x, uint16_t* pages, int rows, int kv_heads, int page_tokens, int d) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < rows * kv_heads * d; i += gridDim.x * blockDim.x) {
    int c = i % d, h = i / d % kv_heads, r = i / d / kv_heads;
    pages[((size_t(r / page_tokens) * kv_heads + h) * page_tokens + r % page_tokens) * d + c] = x[i];
  }
}

}  // namespace

void reference_attention(const void* q, const void* k, const void* v, float* out, int rows, int heads, int kv_heads, int d, int q_stride,
                         int kv_stride, bool causal) {
  attention_reference<<<(rows * heads + 7) / 8, 256>>>(static_cast<const uint16_t*>(q), static_cast<const uint16_t*>(k),
                                                       static_cast<const uint16_t*>(v), out, rows, heads, kv_heads, d, q_stride, kv_stride, causal);
}
void copy_to_pages(const void* x, void* pages, int rows, int kv_heads, int page_tokens, int d) {
  to_pages<<<512, 256>>>(static_cast<const uint16_t*>(x), static_cast<uint16_t*>(pages), rows, kv_heads, page_tokens, d);
}
void fill_random(void* p, Format format, size_t n, float scale, uint64_t seed) { fill<<<1024, 256>>>(p, format, n, scale, seed); }
void fill_scales(float* p, size_t n, uint64_t seed) { fill_scale<<<256, 256>>>(p, n, seed); }
void sum_differences(const void* a, const float* b, Format format, size_t n, double* out) {
  difference<<<512, 256>>>(a, b, format, n, out);
}
void read_all(const void* p, size_t bytes, uint32_t* sink, Stream stream) {
  read<<<132 * 8, 512, 0, stream>>>(static_cast<const uint4*>(p), bytes / 16, sink);
}

}  // namespace vl8::cuda

// Attention of any head size and format, float32 throughout: the meaning of the fast kernels, and what runs where they
// do not apply. One block a row and head; each warp takes every fourth key with its own running maximum and sum, and the
// warps are merged at the end.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxLaneDims = 8;  // D up to 256

// key(j), value(j): pointers to D elements.
template <typename T, typename Kv, typename Key, typename Value>
__device__ void attend(const T* q, T* out, int keys, int d, Key key, Value value) {
  __shared__ float merged[kWarps][32 * kMaxLaneDims + 2];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float scale = rsqrtf(float(d));
  float query[kMaxLaneDims], sum[kMaxLaneDims] = {};
#pragma unroll
  for (int i = 0; i < kMaxLaneDims; ++i) query[i] = lane + 32 * i < d ? to_f32(q[lane + 32 * i]) : 0.0f;
  float top = -INFINITY, total = 0;
  for (int j = warp; j < keys; j += kWarps) {
    const Kv *k = key(j), *v = value(j);
    float dot = 0;
#pragma unroll
    for (int i = 0; i < kMaxLaneDims; ++i)
      if (lane + 32 * i < d) dot += query[i] * to_f32(k[lane + 32 * i]);
    dot = warp_sum(dot) * scale;
    const float next = fmaxf(top, dot), shrink = expf(top - next), p = expf(dot - next);
    total = total * shrink + p, top = next;
#pragma unroll
    for (int i = 0; i < kMaxLaneDims; ++i)
      if (lane + 32 * i < d) sum[i] = sum[i] * shrink + p * to_f32(v[lane + 32 * i]);
  }
#pragma unroll
  for (int i = 0; i < kMaxLaneDims; ++i) merged[warp][lane + 32 * i] = sum[i];
  if (lane == 0) merged[warp][32 * kMaxLaneDims] = top, merged[warp][32 * kMaxLaneDims + 1] = total;
  __syncthreads();
  float all_top = -INFINITY, all_total = 0;
  for (int w = 0; w < kWarps; ++w) all_top = fmaxf(all_top, merged[w][32 * kMaxLaneDims]);
  for (int w = 0; w < kWarps; ++w) all_total += merged[w][32 * kMaxLaneDims + 1] * expf(merged[w][32 * kMaxLaneDims] - all_top);
  for (int e = threadIdx.x; e < d; e += blockDim.x) {
    float y = 0;
    for (int w = 0; w < kWarps; ++w) y += merged[w][e] * expf(merged[w][32 * kMaxLaneDims] - all_top);
    out[e] = from_f32<T>(y / all_total);
  }
}

template <typename T, typename Kv>
__global__ void __launch_bounds__(32 * kWarps) paged_kernel(PagedAttention a) {
  wait_for_previous();
  launch_dependents();
  const int row = blockIdx.x, head = blockIdx.y, kv_head = head / (a.hq / a.hkv), d = a.d;
  const SeqMeta s = a.seqs[a.row_seq[row]];
  const int32_t* pages = a.pages + s.page_begin;
  auto at = [&](int j) { return ((int64_t(pages[j / a.page_tokens]) * a.hkv + kv_head) * a.page_tokens + j % a.page_tokens) * d; };
  const int64_t own = (int64_t(row) * a.hq + head) * d;
  attend<T, Kv>(
      static_cast<const T*>(a.q) + own, static_cast<T*>(a.out) + own, s.kv_len - s.q_len + (row - s.q_begin) + 1, d,
      [&](int j) { return static_cast<const Kv*>(a.k) + at(j); }, [&](int j) { return static_cast<const Kv*>(a.v) + at(j); });
}

template <typename T>
__global__ void __launch_bounds__(32 * kWarps) segment_kernel(VisionAttention a) {
  wait_for_previous();
  launch_dependents();
  const int row = blockIdx.x, head = blockIdx.y, d = a.d;
  const int64_t c = int64_t(a.heads) * d;
  int segment = 0;
  while (a.segments[segment + 1] <= row) ++segment;
  const int begin = a.segments[segment];
  const T* base = static_cast<const T*>(a.qkv);
  auto at = [&](int j, int part) { return base + (int64_t(begin + j) * 3 + part) * c + head * d; };
  attend<T, T>(
      base + int64_t(row) * 3 * c + head * d, static_cast<T*>(a.out) + int64_t(row) * c + head * d, a.segments[segment + 1] - begin, d,
      [&](int j) { return at(j, 1); }, [&](int j) { return at(j, 2); });
}

}  // namespace

void attention_plain(const PagedAttention& a, const GemmContext& ctx) {
  const LaunchShape shape{dim3(unsigned(a.t), unsigned(a.hq)), dim3(32 * kWarps)};
  with_act(a.act, [&](auto v) {
    using T = decltype(v);
    auto kernel = a.kv == Format::f32 ? paged_kernel<T, float> : a.kv == Format::bf16 ? paged_kernel<T, bf16> : paged_kernel<T, uint8_t>;
    launch("attention", kernel, shape, ctx, a);
  });
}

void vision_attention_plain(const VisionAttention& a, const GemmContext& ctx) {
  with_act(a.act, [&](auto v) {
    launch("vision attention", segment_kernel<decltype(v)>, {dim3(unsigned(a.n), unsigned(a.heads)), dim3(32 * kWarps)}, ctx, a);
  });
}

}  // namespace vl8::cuda

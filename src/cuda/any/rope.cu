// Rotary tables, the norm and rotation of heads with the write into the pages of the key/value cache, and the vision
// tower's position table. A warp works on one head of one row; a lane on pairs (i, i + D/2) with i even.
#include "cuda/act.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace vl8::cuda {
namespace {

constexpr int kWarps = 8;

__global__ void mrope_kernel(const int32_t* positions, const float* frequencies, float factor, RopeAxes axes, int64_t t, int64_t half,
                             float* cos, float* sin) {
  wait_for_previous();
  launch_dependents();
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= t * half) return;
  const int64_t row = at / half;
  const int pair = int(at % half);
  int axis = 0;
  if (pair % 3 == 1 && pair < 3 * axes.section_h) axis = 1;
  if (pair % 3 == 2 && pair < 3 * axes.section_w) axis = 2;
  const float angle = frequencies[pair] * float(positions[axis * t + row]);
  float s, c;
  sincosf(angle, &s, &c);
  cos[at] = c * factor, sin[at] = s * factor;
}

struct Place {
  int y, x, h, w;
};
__device__ Place place_of(const PatchGrid* grids, int count, int merge, int row) {
  int g = 0;
  while (g + 1 < count && grids[g + 1].first_row <= row) ++g;
  const PatchGrid grid = grids[g];
  int i = (row - grid.first_row) % (grid.h * grid.w);
  const int in_block = i % (merge * merge), block = i / (merge * merge), across = grid.w / merge;
  return {block / across * merge + in_block / merge, block % across * merge + in_block % merge, grid.h, grid.w};
}

__global__ void vision_rope_kernel(const PatchGrid* grids, int count, int merge, int64_t n, int64_t half, float* cos, float* sin) {
  wait_for_previous();
  launch_dependents();
  const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= n * half) return;
  const int64_t quarter = half / 2, i = at % half;
  const Place p = place_of(grids, count, merge, int(at / half));
  const float frequency = float(1.0 / pow(10000.0, double(2 * (i % quarter)) / double(half)));
  float s, c;
  sincosf(float(i < quarter ? p.y : p.x) * frequency, &s, &c);
  cos[at] = c, sin[at] = s;
}

template <typename T>
__global__ void position_kernel(const T* x, const float* table, int side, const PatchGrid* grids, int count, int merge, int64_t c, T* y) {
  wait_for_previous();
  launch_dependents();
  const int64_t row = blockIdx.x;
  const Place p = place_of(grids, count, merge, int(row));
  const float u = p.h > 1 ? float(p.y) * float(side - 1) / float(p.h - 1) : 0.0f;
  const float v = p.w > 1 ? float(p.x) * float(side - 1) / float(p.w - 1) : 0.0f;
  const int y0 = int(u), x0 = int(v), y1 = min(y0 + 1, side - 1), x1 = min(x0 + 1, side - 1);
  const float dy = u - float(y0), dx = v - float(x0);
  const float w00 = (1 - dy) * (1 - dx), w01 = (1 - dy) * dx, w10 = dy * (1 - dx), w11 = dy * dx;
  const float *p00 = table + (int64_t(y0) * side + x0) * c, *p01 = table + (int64_t(y0) * side + x1) * c;
  const float *p10 = table + (int64_t(y1) * side + x0) * c, *p11 = table + (int64_t(y1) * side + x1) * c;
  for (int64_t j = threadIdx.x; j < c; j += blockDim.x)
    y[row * c + j] = from_f32<T>(to_f32(x[row * c + j]) + (w00 * p00[j] + w01 * p01[j] + w10 * p10[j] + w11 * p11[j]));
}

template <typename Kv>
__device__ __forceinline__ Kv* kv_row(void* base, const KvPlace& p, int row, int head, int hkv, int d) {
  const int64_t slot = p.slot[row], page = slot / p.page_tokens, at = slot % p.page_tokens;
  return static_cast<Kv*>(base) + ((page * hkv + head) * p.page_tokens + at) * d;
}

constexpr int kMaxPairs = 4;  // pairs of pairs a lane: D up to 512

template <typename T, typename Kv>
__global__ void qk_norm_rope_kernel(QkNormRopeArgs a) {
  wait_for_previous();
  launch_dependents();
  const int lane = threadIdx.x % 32, heads = a.hq + 2 * a.hkv, half = a.d / 2;
  const int64_t unit = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (unit >= int64_t(a.t) * heads) return;
  const int row = int(unit / heads), head = int(unit % heads);
  const T* src = static_cast<const T*>(a.qkv) + (int64_t(row) * heads + head) * a.d;
  const bool is_q = head < a.hq, is_v = head >= a.hq + a.hkv;
  const int kv_head = is_v ? head - a.hq - a.hkv : head - a.hq;
  float2 low[kMaxPairs], high[kMaxPairs];
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const int i = 2 * lane + 64 * j;
    if (i >= half) break;
    low[j] = load2(src + i), high[j] = load2(src + half + i);
    squares += low[j].x * low[j].x + low[j].y * low[j].y + high[j].x * high[j].x + high[j].y * high[j].y;
  }
  if (!is_v) {
    const float factor = 1.0f / sqrtf(warp_sum(squares) / float(a.d) + a.eps);
    const float* w = is_q ? a.q_norm : a.k_norm;
#pragma unroll
    for (int j = 0; j < kMaxPairs; ++j) {
      const int i = 2 * lane + 64 * j;
      if (i >= half) break;
      const float2 wl = load2(w + i), wh = load2(w + half + i), c = load2(a.cos + int64_t(row) * half + i),
                   s = load2(a.sin + int64_t(row) * half + i);
      const float2 l = {wl.x * (low[j].x * factor), wl.y * (low[j].y * factor)};
      const float2 h = {wh.x * (high[j].x * factor), wh.y * (high[j].y * factor)};
      low[j] = {l.x * c.x - h.x * s.x, l.y * c.y - h.y * s.y};
      high[j] = {h.x * c.x + l.x * s.x, h.y * c.y + l.y * s.y};
    }
  }
  T* plain = nullptr;
  if (is_q) plain = static_cast<T*>(a.q) + (int64_t(row) * a.hq + head) * a.d;
  else if (a.k) plain = static_cast<T*>(is_v ? a.v : a.k) + (int64_t(row) * a.hkv + kv_head) * a.d;
  Kv* paged = !is_q && a.place.k ? kv_row<Kv>(is_v ? a.place.v : a.place.k, a.place, row, kv_head, a.hkv, a.d) : nullptr;
#pragma unroll
  for (int j = 0; j < kMaxPairs; ++j) {
    const int i = 2 * lane + 64 * j;
    if (i >= half) break;
    if (plain) store2(plain + i, low[j].x, low[j].y), store2(plain + half + i, high[j].x, high[j].y);
    if (paged) store2(paged + i, low[j].x, low[j].y), store2(paged + half + i, high[j].x, high[j].y);
  }
}

template <typename T, typename Kv>
__global__ void store_kv_kernel(const T* k, const T* v, KvPlace p, int hkv, int d) {
  wait_for_previous();
  launch_dependents();
  const int row = blockIdx.x, head = blockIdx.y;
  Kv *to_k = kv_row<Kv>(p.k, p, row, head, hkv, d), *to_v = kv_row<Kv>(p.v, p, row, head, hkv, d);
  const int64_t from = (int64_t(row) * hkv + head) * d;
  for (int i = 2 * threadIdx.x; i < d; i += 2 * blockDim.x) {
    const float2 a = load2(k + from + i), b = load2(v + from + i);
    store2(to_k + i, a.x, a.y), store2(to_v + i, b.x, b.y);
  }
}

template <typename T>
__global__ void vision_rotate_kernel(const T* qkv, const float* cos, const float* sin, T* out, int64_t n, int heads, int d) {
  wait_for_previous();
  launch_dependents();
  const int lane = threadIdx.x % 32, half = d / 2;
  const int64_t unit = int64_t(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (unit >= n * 3 * heads) return;
  const int64_t row = unit / (3 * heads), from = unit * d;
  const bool is_v = unit % (3 * heads) >= 2 * heads;
  for (int i = 2 * lane; i < half; i += 64) {
    const float2 l = load2(qkv + from + i), h = load2(qkv + from + half + i);
    float2 c = {1, 1}, s = {0, 0};
    if (!is_v) c = load2(cos + row * half + i), s = load2(sin + row * half + i);
    store2(out + from + i, l.x * c.x - h.x * s.x, l.y * c.y - h.y * s.y);
    store2(out + from + half + i, h.x * c.x + l.x * s.x, h.y * c.y + l.y * s.y);
  }
}

template <typename F>
void with_kv(Format kv, F f) {
  if (kv == Format::f32) f(float{});
  else if (kv == Format::bf16) f(bf16{});
  else f(uint8_t{});
}

}  // namespace

void mrope_table(const int32_t* positions, const float* frequencies, float factor, RopeAxes axes, int64_t t, int64_t half, float* cos,
                 float* sin, const GemmContext& ctx) {
  if (t == 0) return;
  launch("mrope", mrope_kernel, {dim3(blocks_for(t * half, 256)), dim3(256)}, ctx, positions, frequencies, factor, axes, t, half, cos, sin);
}

void vision_rope_table(const PatchGrid* grids, int32_t count, int32_t merge, int64_t n, int64_t half, float* cos, float* sin,
                       const GemmContext& ctx) {
  launch("vision rope", vision_rope_kernel, {dim3(blocks_for(n * half, 256)), dim3(256)}, ctx, grids, count, merge, n, half, cos, sin);
}

void add_position_table(const void* x, const float* table, int32_t side, const PatchGrid* grids, int32_t count, int32_t merge, int64_t n,
                        int64_t c, void* y, Format act, const GemmContext& ctx) {
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("position table", position_kernel<T>, {dim3(unsigned(n)), dim3(256)}, ctx, static_cast<const T*>(x), table, side, grids, count,
           merge, c, static_cast<T*>(y));
  });
}

void qk_norm_rope(const QkNormRopeArgs& a, const GemmContext& ctx) {
  if (a.t == 0) return;
  const unsigned blocks = blocks_for(int64_t(a.t) * (a.hq + 2 * a.hkv), kWarps);
  with_act(a.act, [&](auto v) {
    with_kv(a.place.k ? a.place.format : Format::bf16, [&](auto kv) {
      launch("qk_norm_rope", qk_norm_rope_kernel<decltype(v), decltype(kv)>, {dim3(blocks), dim3(32 * kWarps)}, ctx, a);
    });
  });
}

void store_kv(const void* k, const void* v, Format act, const KvPlace& place, int32_t t, int32_t hkv, int32_t d, const GemmContext& ctx) {
  if (t == 0) return;
  with_act(act, [&](auto x) {
    with_kv(place.format, [&](auto kv) {
      using T = decltype(x);
      launch("store_kv", store_kv_kernel<T, decltype(kv)>, {dim3(unsigned(t), unsigned(hkv)), dim3(64)}, ctx, static_cast<const T*>(k),
             static_cast<const T*>(v), place, hkv, d);
    });
  });
}

void vision_rotate(const void* qkv, const float* cos, const float* sin, void* out, Format act, int64_t n, int32_t heads, int32_t d,
                   const GemmContext& ctx) {
  with_act(act, [&](auto v) {
    using T = decltype(v);
    launch("vision rotate", vision_rotate_kernel<T>, {dim3(blocks_for(n * 3 * heads, kWarps)), dim3(32 * kWarps)}, ctx,
           static_cast<const T*>(qkv), cos, sin, static_cast<T*>(out), n, heads, d);
  });
}

}  // namespace vl8::cuda

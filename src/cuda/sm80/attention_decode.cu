// One new row of a sequence against its whole context: bound by the bytes of the keys and values. A block takes one key
// head (all query heads that share it ride along in the 16 rows of a matrix product) and one part of the context; the last
// block of a row merges the parts. The grid depends on the number of rows alone, lengths are read on the device, so that a
// recorded step serves any context.
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/sm80/attention_parts.cuh"

namespace vl8::cuda {
namespace {

using namespace sm80;

constexpr int kKeys = 64, kWarps = 4, kStages = 3, kRows = 16;
constexpr int kBlocksPerMultiprocessor = 2;

template <int D>
constexpr int tile_bytes() { return kKeys * HeadShape<D>::kStride * 2; }
template <int D>
constexpr int shared_bytes() {
  constexpr int merge = kWarps * kRows * (D + 2) * 4, tiles = kStages * 2 * tile_bytes<D>();
  return merge > tiles ? merge : tiles;
}

// What one block hands to the merge: for each query head of the group D sums, the maximum and the total.
template <int D>
constexpr int kPartFloats = D + 2;

// Partial results in shared memory, [parts][16][D + 2], merged into out(r) for rows below `rows`.
template <int D, typename Read, typename Write>
__device__ __forceinline__ void merge_parts(int parts, int rows, float scale, Read read, Write write) {
  for (int i = threadIdx.x; i < rows * D; i += blockDim.x) {
    const int r = i / D, e = i % D;
    float top = -INFINITY, total = 0, sum = 0;
    for (int p = 0; p < parts; ++p) top = fmaxf(top, read(p, r, D));
    for (int p = 0; p < parts; ++p) {
      const float share = read(p, r, D) == -INFINITY ? 0.0f : exp2_fast((read(p, r, D) - top) * scale);
      total += read(p, r, D + 1) * share, sum += read(p, r, e) * share;
    }
    write(r, e, sum, top, total);
  }
}

template <int D>
__global__ void __launch_bounds__(32 * kWarps) decode_kernel(PagedAttention a) {
  VL8_DYNAMIC_SHARED(bf16, shared);
  __shared__ int32_t is_last;
  constexpr int kTile = kKeys * HeadShape<D>::kStride;
  wait_for_previous();
  launch_dependents();
  const int row = a.decode_rows[blockIdx.z], kv_head = blockIdx.y, splits = gridDim.x, group = a.hq / a.hkv;
  const SeqMeta s = a.seqs[a.row_seq[row]];
  const int keys = s.kv_len - s.q_len + (row - s.q_begin) + 1, tiles = (keys + kKeys - 1) / kKeys;
  const int tiles_each = (tiles + splits - 1) / splits, active = (tiles + tiles_each - 1) / tiles_each;
  const int first = blockIdx.x * tiles_each, last = min(first + tiles_each, tiles);
  if (first >= last) return;
  const int32_t* pages = a.pages + s.page_begin;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const float scale = 1.4426950408889634f * rsqrtf(float(D));

  auto start_copy = [&](int tile) {
    if (tile < last) {
      bf16* to = shared + (tile - first) % kStages * 2 * kTile;
      auto present = [&](const void* base) {
        return [=](int i) -> const bf16* {
          const int j = tile * kKeys + i;
          if (j >= keys) return nullptr;
          return static_cast<const bf16*>(base) + ((int64_t(pages[j / a.page_tokens]) * a.hkv + kv_head) * a.page_tokens + j % a.page_tokens) * D;
        };
      };
      copy_rows<D>(to, kKeys, present(a.k));
      copy_rows<D>(to + kTile, kKeys, present(a.v));
    }
    copy_commit();
  };
  for (int i = 0; i + 1 < kStages; ++i) start_copy(first + i);
  uint32_t q[HeadShape<D>::kSteps][4];
  const bf16* queries = static_cast<const bf16*>(a.q) + (int64_t(row) * a.hq + kv_head * group) * D;
  load_queries<D>(q, [&](int r) { return r < group ? queries + r * D : nullptr; });
  Accumulator<D> acc;
  acc.clear();
  for (int tile = first; tile < last; ++tile) {
    start_copy(tile + kStages - 1);
    copy_wait<kStages - 1>();
    __syncthreads();
    const bf16 *k = shared + (tile - first) % kStages * 2 * kTile + warp * 16 * HeadShape<D>::kStride, *v = k + kTile;
    float score[2][4];
    scores<D>(score, q, k);
    const int key = tile * kKeys + warp * 16 + 2 * t;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (key + 8 * n + i % 2 >= keys) score[n][i] = -INFINITY;
    absorb<D>(acc, score, scale, v);
    __syncthreads();
  }
  copy_wait<0>();
  finish_totals(acc);
  float* part = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float* to = part + (warp * kRows + g + 8 * h) * kPartFloats<D>;
#pragma unroll
    for (int c = 0; c < HeadShape<D>::kColumns; ++c) to[8 * c + 2 * t] = acc.o[c][2 * h], to[8 * c + 2 * t + 1] = acc.o[c][2 * h + 1];
    if (t == 0) to[D] = acc.top[h], to[D + 1] = acc.total[h];
  }
  __syncthreads();
  bf16* out = static_cast<bf16*>(a.out) + (int64_t(row) * a.hq + kv_head * group) * D;
  const int unit = blockIdx.z * a.hkv + kv_head;
  float* parts = a.partial + int64_t(unit) * splits * group * kPartFloats<D>;
  auto of_warp = [=](int p, int r, int e) { return part[(p * kRows + r) * kPartFloats<D> + e]; };
  if (active == 1)
    return merge_parts<D>(kWarps, group, scale, of_warp,
                          [=](int r, int e, float sum, float, float total) { out[r * D + e] = __float2bfloat16_rn(sum / total); });
  float* mine = parts + blockIdx.x * group * kPartFloats<D>;
  merge_parts<D>(kWarps, group, scale, of_warp, [=](int r, int e, float sum, float top, float total) {
    mine[r * kPartFloats<D> + e] = sum;
    if (e == 0) mine[r * kPartFloats<D> + D] = top, mine[r * kPartFloats<D> + D + 1] = total;
  });
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(&a.arrived[unit], 1) == active - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  merge_parts<D>(
      active, group, scale, [=](int p, int r, int e) { return __ldcg(parts + (p * group + r) * kPartFloats<D> + e); },
      [=](int r, int e, float sum, float, float total) { out[r * D + e] = __float2bfloat16_rn(sum / total); });
  if (threadIdx.x == 0) a.arrived[unit] = 0;
}

}  // namespace

int decode_splits(int decode_count, int hkv, int sm_count) {
  const int blocks = decode_count * hkv, wanted = kBlocksPerMultiprocessor * sm_count;
  return blocks == 0 ? 1 : blocks >= wanted ? 1 : (wanted + blocks - 1) / blocks;
}
size_t decode_workspace_bytes(int decode_count, int hq, int d, int splits) { return size_t(decode_count) * hq * splits * (d + 2) * sizeof(float); }

bool decode_supported(const PagedAttention& a) {
  return a.act == Format::bf16 && a.kv == Format::bf16 && (a.d == 64 || a.d == 128) && a.hq / a.hkv <= kRows && a.decode_count <= kMaxDecodeRows &&
         a.hkv <= 32;
}

void attention_decode(const PagedAttention& a, const GemmContext& ctx) {
  auto run = [&](auto kernel, int bytes) {
    allow_shared(kernel, bytes);
    launch("decode attention", kernel,
           {dim3(unsigned(decode_splits(a.decode_count, a.hkv, ctx.sm_count)), unsigned(a.hkv), unsigned(a.decode_count)), dim3(32 * kWarps), bytes}, ctx,
           a);
  };
  if (a.d == 64) run(decode_kernel<64>, shared_bytes<64>());
  else run(decode_kernel<128>, shared_bytes<128>());
}

}  // namespace vl8::cuda

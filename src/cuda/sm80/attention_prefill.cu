// Prompts: 128 query rows of one head against tiles of 64 keys, no score matrix in memory. Eight warps of 16 rows; the next
// tile's keys and values are on their way while the present one is used. Paged and causal for text, whole segments for vision.
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/sm80/attention_parts.cuh"

namespace vl8::cuda {
namespace {

using namespace sm80;

constexpr int kKeys = 64, kWarps = 8, kStages = 2;
static_assert(kQueryTile == 16 * kWarps);

template <int D>
constexpr int shared_bytes() { return kStages * 2 * kKeys * HeadShape<D>::kStride * 2; }

// query(r): row r of the tile or null; key(j), value(j): rows of D elements, j < keys; output(r): where row r goes or null.
// Row r sees the keys below limit(r) (limit may pass `keys`).
template <int D, typename Query, typename Key, typename Value, typename Output, typename Limit>
__device__ __forceinline__ void attend_tile(bf16* shared, int keys, Query query, Key key, Value value, Output output, Limit limit) {
  constexpr int kStride = HeadShape<D>::kStride, kTile = kKeys * kStride;
  auto k_tile = [&](int stage) { return shared + stage * 2 * kTile; };
  auto v_tile = [&](int stage) { return shared + stage * 2 * kTile + kTile; };
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, tiles = (keys + kKeys - 1) / kKeys;
  const float scale = 1.4426950408889634f * rsqrtf(float(D));
  auto start_copy = [&](int tile) {
    if (tile < tiles) {
      auto present = [&](auto row) { return [=](int j) { return tile * kKeys + j < keys ? row(tile * kKeys + j) : nullptr; }; };
      copy_rows<D>(k_tile(tile % kStages), kKeys, present(key));
      copy_rows<D>(v_tile(tile % kStages), kKeys, present(value));
    }
    copy_commit();
  };
  if (HeadShape<D>::kSteps * 16 > D) clear_padding<D>(shared, kStages * 2 * kKeys);
  start_copy(0);
  uint32_t q[HeadShape<D>::kSteps][4];
  load_queries<D>(q, [&](int r) { return query(16 * warp + r); });
  Accumulator<D> acc;
  acc.clear();
  const int limits[2] = {limit(16 * warp + g), limit(16 * warp + g + 8)};
  for (int tile = 0; tile < tiles; ++tile) {
    start_copy(tile + 1);
    copy_wait<1>();
    __syncthreads();
    float s[kKeys / 8][4];
    scores<D>(s, q, k_tile(tile % kStages));
    // Masks only where a row of this warp ends inside the tile.
    if (!__all_sync(~0u, min(min(limits[0], limits[1]), keys) >= (tile + 1) * kKeys)) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (tile * kKeys + 8 * n + 2 * t + i % 2 >= min(limits[i / 2], keys)) s[n][i] = -INFINITY;
    }
    absorb<D>(acc, s, scale, v_tile(tile % kStages));
    __syncthreads();
  }
  copy_wait<0>();
  finish_totals(acc);
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    bf16* out = output(16 * warp + g + 8 * h);
    if (!out) continue;
    const float inverse = 1.0f / acc.total[h];
#pragma unroll
    for (int c = 0; c < HeadShape<D>::kColumns; ++c) store2(out + 8 * c + 2 * t, acc.o[c][2 * h] * inverse, acc.o[c][2 * h + 1] * inverse);
  }
}

// Grid: query heads, tiles. Blocks of one group of heads lie together, so that their keys are read once into L2.
template <int D>
__global__ void __launch_bounds__(32 * kWarps) prefill_kernel(PagedAttention a) {
  VL8_DYNAMIC_SHARED(bf16, shared);
  wait_for_previous();
  launch_dependents();
  const QueryTile tile = a.tiles[blockIdx.y];
  const SeqMeta s = a.seqs[tile.seq];
  const int head = blockIdx.x, kv_head = head / (a.hq / a.hkv), before = s.kv_len - s.q_len;
  const int32_t* pages = a.pages + s.page_begin;
  auto at = [=](int j) { return ((int64_t(pages[j / a.page_tokens]) * a.hkv + kv_head) * a.page_tokens + j % a.page_tokens) * D; };
  auto own = [=](int r) { return (int64_t(s.q_begin + tile.row + r) * a.hq + head) * D; };
  attend_tile<D>(
      shared, before + min(tile.row + kQueryTile, s.q_len),
      [=](int r) { return tile.row + r < s.q_len ? static_cast<const bf16*>(a.q) + own(r) : nullptr; },
      [=](int j) { return static_cast<const bf16*>(a.k) + at(j); }, [=](int j) { return static_cast<const bf16*>(a.v) + at(j); },
      [=](int r) { return tile.row + r < s.q_len ? static_cast<bf16*>(a.out) + own(r) : nullptr; },
      [=](int r) { return before + tile.row + r + 1; });
}

template <int D>
__global__ void __launch_bounds__(32 * kWarps) vision_kernel(VisionAttention a) {
  VL8_DYNAMIC_SHARED(bf16, shared);
  wait_for_previous();
  launch_dependents();
  const QueryTile tile = a.tiles[blockIdx.y];
  const int begin = a.segments[tile.seq], n = a.segments[tile.seq + 1] - begin, head = blockIdx.x;
  const int64_t c = int64_t(a.heads) * D;
  const bf16* base = static_cast<const bf16*>(a.qkv) + head * D;
  auto at = [=](int j, int part) { return base + (int64_t(begin + j) * 3 + part) * c; };
  attend_tile<D>(
      shared, n, [=](int r) { return tile.row + r < n ? at(tile.row + r, 0) : nullptr; }, [=](int j) { return at(j, 1); },
      [=](int j) { return at(j, 2); },
      [=](int r) { return tile.row + r < n ? static_cast<bf16*>(a.out) + int64_t(begin + tile.row + r) * c + head * D : nullptr; },
      [=](int) { return n; });
}

template <typename Args>
void launch_tiles(const char* name, void (*kernel)(Args), int bytes, int heads, int tiles, const Args& args, const GemmContext& ctx) {
  allow_shared(kernel, bytes);
  launch(name, kernel, {dim3(unsigned(heads), unsigned(tiles)), dim3(32 * kWarps), bytes}, ctx, args);
}

}  // namespace

bool prefill_supported(const PagedAttention& a) {
  return a.act == Format::bf16 && a.kv == Format::bf16 && (a.d == 64 || a.d == 128) && a.tile_count < 65536;
}
void attention_prefill(const PagedAttention& a, const GemmContext& ctx) {
  if (a.d == 64) launch_tiles("prefill attention", prefill_kernel<64>, shared_bytes<64>(), a.hq, a.tile_count, a, ctx);
  else launch_tiles("prefill attention", prefill_kernel<128>, shared_bytes<128>(), a.hq, a.tile_count, a, ctx);
}

bool vision_supported(const VisionAttention& a) {
  return a.act == Format::bf16 && (a.d == 64 || a.d == 72) && a.tile_count < 65536;
}
void vision_attention(const VisionAttention& a, const GemmContext& ctx) {
  if (a.d == 64) launch_tiles("vision attention", vision_kernel<64>, shared_bytes<64>(), a.heads, a.tile_count, a, ctx);
  else launch_tiles("vision attention", vision_kernel<72>, shared_bytes<72>(), a.heads, a.tile_count, a, ctx);
}

}  // namespace vl8::cuda

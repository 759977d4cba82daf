// Flash attention (arXiv 2307.08691, and the pipelining of 2407.08608) on tiles of 128 queries by 128 keys. A producer warp
// loads by TMA; each of two consumer warpgroups has 64 query rows. Scores of step j + 1 are multiplied while the values of
// step j are: the exponentials of one step then hide behind the products of the other and of the other warpgroup.
//
// A head of D features lies in shared memory as chunks of 64 columns with the 128-byte swizzle. D = 72 is two chunks, the
// second filled with zeros by the copy engine: scores take 80 features (5 steps of 16), values exactly 72 columns.
#pragma once
#include "cuda/fragment_store.cuh"
#include "cuda/launch.h"
#include "cuda/sm90/attention/flash.h"
#include "cuda/sm90/ptx.cuh"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/wgmma.cuh"

namespace vl8::cuda::sm90 {

constexpr int kChunkBytes = kFlashRows * 128;  // 128 rows of 64 BF16 features

template <int D>
struct FlashPlan {
  static constexpr int kChunks = (D + 63) / 64, kSteps = (D + 15) / 16;  // of 64 columns; of 16 features
  static constexpr int kTileBytes = kChunks * kChunkBytes;
  static constexpr int kStages = 2;
  static constexpr int kSharedBytes = 1024 + kTileBytes * (1 + 2 * kStages) + 8 * (1 + 4 * kStages);
};

// What a block works on, the same in every thread.
struct FlashWork {
  int q_row, q_rows;    // first row of the tile in q and out, and how many rows of it exist
  int keys, first_key;  // keys the tile's last row sees; index of the key that the tile's first row stands at (causal)
  int kv_base;          // paged: entry of the first page; else row of key 0
};

struct FlashGeometry {
  int q_heads, kv_heads, page_tokens, k_column, v_column;  // columns: where k and v begin in the middle dimension of the maps
};

// Turns: the two consumer warpgroups issue their products in turn, so that the exponentials of one run while the tensor
// cores work for the other.
template <int D, bool Paged, bool Turns, typename Args>
__global__ void __launch_bounds__(384, 1)
    flash_kernel(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                 const __grid_constant__ CUtensorMap v_map, const Args args, const FlashGeometry geometry) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using P = FlashPlan<D>;
  VL8_DYNAMIC_SHARED(uint8_t, raw);
  uint8_t* q_tile = raw + (1024 - shared_address(raw) % 1024) % 1024;
  uint8_t* k_tiles = q_tile + P::kTileBytes;
  uint8_t* v_tiles = k_tiles + P::kStages * P::kTileBytes;
  uint64_t* q_full = reinterpret_cast<uint64_t*>(v_tiles + P::kStages * P::kTileBytes);
  uint64_t *k_full = q_full + 1, *v_full = k_full + P::kStages, *k_empty = v_full + P::kStages, *v_empty = k_empty + P::kStages;
  int group = threadIdx.x / 128, head = blockIdx.x % geometry.q_heads, kv_head = head / (geometry.q_heads / geometry.kv_heads);

  if (threadIdx.x == 0) {
    barrier_init(q_full, 1);
    for (int s = 0; s < P::kStages; ++s) {
      barrier_init(&k_full[s], 1), barrier_init(&v_full[s], 1);
      barrier_init(&k_empty[s], 8), barrier_init(&v_empty[s], 8);  // one arrival a consumer warp
    }
    barrier_init_fence();
  }
  __syncthreads();
  launch_dependents();
  wait_for_previous();
  FlashWork work = flash_work(args, int(blockIdx.x) / geometry.q_heads);
  int steps = (work.keys + kFlashRows - 1) / kFlashRows;

  if (group == 0) {
    registers_lower<24>();
    if (threadIdx.x == 0) {
      auto load = [&](uint8_t* to, const CUtensorMap* map, uint64_t* bar, int row, int column) {
        barrier_arrive_expect(bar, P::kTileBytes);
        for (int c = 0; c < P::kChunks; ++c) tma_load_3d(to + c * kChunkBytes, map, bar, 64 * c, column, row);
      };
      // 128 keys of step `step` from their pages; past the last page any page does, its scores are masked.
      auto load_pages = [&](uint8_t* to, const CUtensorMap* map, uint64_t* bar, int step) {
        barrier_arrive_expect(bar, P::kTileBytes);
        for (int key = 0; key < kFlashRows; key += geometry.page_tokens) {
          int at = step * kFlashRows + key, page = flash_page(args, work.kv_base + (at < work.keys ? at / geometry.page_tokens : 0));
          for (int c = 0; c < P::kChunks; ++c)
            tma_load_3d(to + c * kChunkBytes + key * 128, map, bar, 64 * c, 0, (page * geometry.kv_heads + kv_head) * geometry.page_tokens);
        }
      };
      load(q_tile, &q_map, q_full, work.q_row, head);
      int stage = 0;
      uint32_t phase = 0;
      for (int step = steps - 1; step >= 0; --step) {
        uint8_t *k = k_tiles + stage * P::kTileBytes, *v = v_tiles + stage * P::kTileBytes;
        barrier_wait(&k_empty[stage], phase ^ 1);
        if constexpr (Paged) load_pages(k, &k_map, &k_full[stage], step);
        else load(k, &k_map, &k_full[stage], work.kv_base + step * kFlashRows, geometry.k_column + head);
        barrier_wait(&v_empty[stage], phase ^ 1);
        if constexpr (Paged) load_pages(v, &v_map, &v_full[stage], step);
        else load(v, &v_map, &v_full[stage], work.kv_base + step * kFlashRows, geometry.v_column + head);
        if (++stage == P::kStages) stage = 0, phase ^= 1;
      }
    }
    return;
  }

  registers_raise<240>();
  int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32, t = lane % 4;
  int own_row = (group - 1) * 64 + warp * 16 + lane / 4;  // and own_row + 8
  const float to_log2 = 1.4426950408889634f * rsqrtf(float(D));
  float out[D / 2] = {}, largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  float scores[64], rescale[2];
  uint32_t weights[32];  // of the step whose values come next, as BF16 operands

  auto score = [&](int stage) {  // scores = q kᵀ, asynchronously
    const uint8_t *q = q_tile + (group - 1) * 64 * 128, *k = k_tiles + stage * P::kTileBytes;
#pragma unroll
    for (int i = 0; i < 64; ++i) pin(scores[i]);
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < P::kSteps; ++s) {
      uint64_t q_at = matrix_descriptor(q + s / 4 * kChunkBytes) + 2 * (s % 4), k_at = matrix_descriptor(k + s / 4 * kChunkBytes) + 2 * (s % 4);
      Wgmma<Format::bf16, 128>::run(scores, q_at, k_at, s != 0);
    }
    wgmma_commit();
#pragma unroll
    for (int i = 0; i < 64; ++i) pin(scores[i]);
  };
  auto add_values = [&](int stage) {  // out += weights v, asynchronously
    const uint8_t* v = v_tiles + stage * P::kTileBytes;
#pragma unroll
    for (int i = 0; i < D / 2; ++i) pin(out[i]);
    wgmma_fence();
#pragma unroll
    for (int s = 0; s < kFlashRows / 16; ++s)
      WgmmaValues<D>::run(out, &weights[4 * s], column_descriptor(v + s * 16 * 128, kChunkBytes));
    wgmma_commit();
#pragma unroll
    for (int i = 0; i < D / 2; ++i) pin(out[i]);
  };
  auto release = [&](uint64_t* bar) {
    __syncwarp();
    if (lane == 0) barrier_arrive(bar);
  };
  // Masks what the rows do not see, then turns scores into exp2(score - largest) and notes by how much `out` must shrink.
  auto soften = [&](int step) {
    int first = step * kFlashRows + 2 * t;
    bool ragged = (step + 1) * kFlashRows > (Paged ? work.first_key + (group - 1) * 64 + 1 : work.keys);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (ragged) {
        int seen = Paged ? min(work.first_key + own_row + 8 * h + 1, work.keys) : work.keys;
#pragma unroll
        for (int j = 0; j < 16; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c)
            if (first + 8 * j + c >= seen) scores[4 * j + 2 * h + c] = -INFINITY;
      }
      float m = largest[h];
#pragma unroll
      for (int j = 0; j < 16; ++j) m = fmaxf(m, fmaxf(scores[4 * j + 2 * h], scores[4 * j + 2 * h + 1]));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
      float base = m == -INFINITY ? 0.0f : m * to_log2;  // a row without any key yet
      rescale[h] = exp2_fast(largest[h] * to_log2 - base);
      largest[h] = m;
      float part = 0;
#pragma unroll
      for (int j = 0; j < 16; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& p = scores[4 * j + 2 * h + c];
          p = exp2_fast(fmaf(p, to_log2, -base));
          part += p;
        }
      sum[h] = sum[h] * rescale[h] + part;
    }
  };
  auto shrink_and_pack = [&] {
#pragma unroll
    for (int j = 0; j < D / 8; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) out[4 * j + i] *= rescale[i / 2];
    // Accumulator columns 16 s .. of the scores are operand columns of the values: the layouts agree register by register.
#pragma unroll
    for (int i = 0; i < 32; ++i) weights[i] = pack_bf16(scores[2 * i], scores[2 * i + 1]);
  };

  if (Turns && group == 2) named_barrier_arrive(1, 256);  // the first turn is the first warpgroup's
  barrier_wait(q_full, 0);
  int stage = 0;
  uint32_t phase = 0;
  barrier_wait(&k_full[0], 0);
  score(0);
  wgmma_wait<0>();
  release(&k_empty[0]);
  soften(steps - 1);
  shrink_and_pack();
  for (int step = steps - 2; step >= 0; --step) {
    int next = stage + 1 == P::kStages ? 0 : stage + 1;
    uint32_t next_phase = next ? phase : phase ^ 1;
    barrier_wait(&k_full[next], next_phase);
    if (Turns) named_barrier(group, 256);
    score(next);
    barrier_wait(&v_full[stage], phase);
    add_values(stage);
    if (Turns) named_barrier_arrive(3 - group, 256);
    wgmma_wait<1>();
#pragma unroll
    for (int i = 0; i < 64; ++i) pin(scores[i]);
    release(&k_empty[next]);
    soften(step);
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < D / 2; ++i) pin(out[i]);
#pragma unroll
    for (int i = 0; i < 32; ++i) pin(weights[i]);  // read by the product until here
    release(&v_empty[stage]);
    shrink_and_pack();
    stage = next, phase = next_phase;
  }
  barrier_wait(&v_full[stage], phase);
  add_values(stage);
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < D / 2; ++i) pin(out[i]);

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float s = sum[h];
    s += __shfl_xor_sync(~0u, s, 1);
    s += __shfl_xor_sync(~0u, s, 2);
    float inverse = s > 0 ? 1.0f / s : 0.0f;
#pragma unroll
    for (int j = 0; j < D / 8; ++j) out[4 * j + 2 * h] *= inverse, out[4 * j + 2 * h + 1] *= inverse;
  }
  GemmArgs store = {};
  store.y = static_cast<uint16_t*>(args.out) + size_t(head) * D;
  store.y_format = Format::bf16, store.epilogue = Epilogue::none;
  store.y_stride = geometry.q_heads * D, store.columns = D;
  store_fragment<D / 8>(store, {work.q_row + own_row, work.q_row + work.q_rows, 0}, out);
#endif
}

__device__ __forceinline__ int flash_page(const FlashPaged& a, int entry) { return a.pages[entry]; }
__device__ __forceinline__ int flash_page(const FlashVision&, int) { return 0; }
__device__ __forceinline__ FlashWork flash_work(const FlashPaged& a, int index) {
  FlashTile tile = a.tiles[index];
  FlashPaged::Sequence s = a.sequences[tile.sequence];
  int rows = min(kFlashRows, s.q_len - tile.row), first = s.kv_len - s.q_len + tile.row;
  return {s.q_begin + tile.row, rows, first + rows, first, s.page_begin};
}
__device__ __forceinline__ FlashWork flash_work(const FlashVision& a, int index) {
  FlashTile tile = a.tiles[index];
  int begin = a.segments[tile.sequence], length = a.segments[tile.sequence + 1] - begin;
  return {begin + tile.row, min(kFlashRows, length - tile.row), length, 0, begin};
}

template <int D, bool Paged, bool Turns, typename Args>
void launch_flash_as(const Args& args, const CUtensorMap& q, const CUtensorMap& k, const CUtensorMap& v, const FlashGeometry& geometry,
                  const GemmContext& context) {
  using P = FlashPlan<D>;
  auto kernel = flash_kernel<D, Paged, Turns, Args>;
  static bool allowed = (allow_shared(kernel, P::kSharedBytes), true);
  (void)allowed;
  LaunchShape shape{dim3(unsigned(args.tile_count * geometry.q_heads)), dim3(384), P::kSharedBytes};
  launch("sm90 flash attention", kernel, shape, context, q, k, v, args, geometry);
}

template <int D, bool Paged, typename Args>
void launch_flash(const Args& args, const CUtensorMap& q, const CUtensorMap& k, const CUtensorMap& v, const FlashGeometry& geometry,
                  bool turns, const GemmContext& context) {
#ifndef VL8_CUDA_EMULATION
  if (turns) return launch_flash_as<D, Paged, true>(args, q, k, v, geometry, context);
#endif
  launch_flash_as<D, Paged, false>(args, q, k, v, geometry, context);
}

}  // namespace vl8::cuda::sm90

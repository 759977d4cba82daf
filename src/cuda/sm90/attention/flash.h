// Attention over many query rows on Hopper, BF16, without a score matrix in memory.
#pragma once
#include "cuda/gemm.h"

namespace vl8::cuda::sm90 {

constexpr int kFlashRows = 128;  // query rows of a tile, and keys of a step

// One tile of query rows of one sequence (or one segment of patches).
struct FlashTile {
  int32_t sequence, row;  // rows row .. row + 127 of the sequence, cut at its end
};

// Causal attention over paged keys: query i of a sequence stands at index kv_len - q_len + i and sees keys up to itself.
// NOTE: rows of a page that hold no key yet are multiplied by zero, so they must be finite: pages are zeroed once.
struct FlashPaged {
  struct Sequence {
    int32_t q_begin, q_len, kv_len, page_begin;  // pages[page_begin + j / page_tokens] holds key j
  };
  const void* q;                // BF16 [tokens, q_heads, 128]
  const void *k, *v;            // BF16 [page_count, kv_heads, page_tokens, 128]
  void* out;                    // BF16 [tokens, q_heads, 128]
  const Sequence* sequences;    // on the device, as are the next two
  const int32_t* pages;
  const FlashTile* tiles;       // in the order in which they should start: the longest first
  int32_t tokens, q_heads, kv_heads, page_count, page_tokens, tile_count;
};
// page_tokens 16, 32, 64 or 128; head size 128.
// turns: the warpgroups of a block issue their products in turn (measured both ways in docs/notes/cuda-gemm.md).
bool flash_paged_fits(int head_dim, int page_tokens);
void launch_flash_paged(const FlashPaged& args, const GemmContext& context, bool turns = true);

// Full attention inside each segment of patches. Head size 64 or 72.
struct FlashVision {
  const void* qkv;           // BF16 [patches, 3, heads, dim], q and k rotated
  void* out;                 // BF16 [patches, heads, dim]
  const int32_t* segments;   // [count + 1] on the device, first 0, last patches
  const FlashTile* tiles;
  int32_t patches, heads, dim, tile_count;
};
bool flash_vision_fits(int head_dim);
void launch_flash_vision(const FlashVision& args, const GemmContext& context, bool turns = true);

}  // namespace vl8::cuda::sm90

#include "cuda/sm90/attention/flash.cuh"

namespace vl8::cuda::sm90 {

bool flash_paged_fits(int head_dim, int page_tokens) {
  return head_dim == 128 && (page_tokens == 16 || page_tokens == 32 || page_tokens == 64 || page_tokens == 128);
}
bool flash_vision_fits(int head_dim) { return head_dim == 64 || head_dim == 72; }

void launch_flash_paged(const FlashPaged& a, const GemmContext& context, bool turns) {
  constexpr int d = 128;
  int64_t rows = int64_t(a.page_count) * a.kv_heads * a.page_tokens;
  CUtensorMap q = heads_map(a.q, a.tokens, a.q_heads, d, kFlashRows);
  CUtensorMap k = heads_map(a.k, rows, 1, d, a.page_tokens), v = heads_map(a.v, rows, 1, d, a.page_tokens);
  launch_flash<d, true>(a, q, k, v, {a.q_heads, a.kv_heads, a.page_tokens, 0, 0}, turns, context);
}

void launch_flash_vision(const FlashVision& a, const GemmContext& context, bool turns) {
  CUtensorMap map = heads_map(a.qkv, a.patches, 3 * a.heads, a.dim, kFlashRows);
  FlashGeometry geometry{a.heads, a.heads, kFlashRows, a.heads, 2 * a.heads};
  if (a.dim == 64) return launch_flash<64, false>(a, map, map, map, geometry, turns, context);
  launch_flash<72, false>(a, map, map, map, geometry, turns, context);
}

}  // namespace vl8::cuda::sm90

// Attention of both towers over the flash and decode kernels.
#pragma once
#include "cpu/context.h"

namespace vl8::cpu {

// Writes k and v of the step into their pages, then out [T, Hq * D] = causal attention of every sequence.
void paged_attention(Context& context, const QkvHeads& qkv, KvCache& cache, int64_t layer,
                     const BatchView& batch, float* out);

// qkv [N, 3 * heads * d]: rotates q and k, then out [N, heads * d] = full attention inside each segment of
// rows.
void segment_attention(Context& context, const Tensor& qkv, int64_t heads, const Rope& rope,
                       std::span<const int32_t> segments, float* out);

// Ops::vision_attention_memory: out [len(rows), heads * d].
void memory_attention(Context& context, const Tensor& qkv, int64_t heads, const Rope& rope, KvCache& memory, int64_t layer,
                      std::span<const int32_t> rows, float* out);

}  // namespace vl8::cpu

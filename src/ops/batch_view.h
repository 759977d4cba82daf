// One step of the engine as the model sees it: plain arrays, no requests. Sequences of any mix of prefill chunks and
// decode steps are laid end to end in the token dimension T. Owner of everything here: the caller, for the step.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace vl8 {

// Query token i of the sequence (0 <= i < q_len) stands at index kv_len - q_len + i and sees the keys up to itself.
struct SequenceView {
  int32_t q_begin = 0;             // first row in T
  int32_t q_len = 0;               // rows in this step, at least 1
  int32_t kv_len = 0;              // keys of this sequence after this step, q_len included
  const int32_t* pages = nullptr;  // page of key j is pages[j / page_tokens]
};

// Visual features that take the place of the embeddings of consecutive rows (the placeholders of one picture or frame
// group, or the part of them that is in this step).
struct VisualSpan {
  int64_t row = 0;                // first row in T
  Tensor features;                // [n, C]
  std::vector<Tensor> deepstack;  // each [n, C]; added after decoder layer 0, 1, 2 (spec 7.5)
};

struct BatchView {
  std::span<const int32_t> token_ids;  // [T]
  const int32_t* positions = nullptr;  // [3, T]: rotary positions on the axes T, H, W (spec 7.2)
  std::span<const SequenceView> sequences;
  std::span<const VisualSpan> visual;
  std::span<const int32_t> logit_rows;  // rows of T whose logits are wanted
  int64_t tokens() const { return int64_t(token_ids.size()); }
};

// The paged key/value store of all layers: K and V are [pages, kv_heads, page_tokens, head_dim], one pair a layer.
struct KvCache {
  int64_t layers = 0, kv_heads = 0, head_dim = 0, page_tokens = 0, pages = 0;
  DType dtype = DType::bf16;  // f32 or bf16
  std::vector<void*> k, v;    // [layers]
  size_t page_bytes() const {  // of K or V in one layer
    return size_t(kv_heads * page_tokens * head_dim) * dtype_bytes(dtype);
  }
};

}  // namespace vl8

// What the arrays of a step hold (batch.h makes them, the attention kernels read them).
#pragma once
#include <cstdint>

namespace vl8::cuda {

struct SeqMeta {
  int32_t q_begin, q_len, kv_len, page_begin;  // pages[page_begin + j / page_tokens] holds key j
};
struct QueryTile {
  int32_t seq, row;  // rows row .. row + kQueryTile - 1 of the sequence
};
constexpr int kQueryTile = 128;
// A sequence with at most this many new rows is attended to by the decode kernel, row by row.
constexpr int kDecodeRows = 4;

}  // namespace vl8::cuda

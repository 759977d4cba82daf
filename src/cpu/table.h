// What one instruction set offers: a table of functions with plain parameters. This header is seen by the
// isa_*.cpp files, which are built for newer CPUs than the rest: it must stay free of inline functions and of
// the standard library, or the linker may merge a new CPU's body into the baseline path.
//
// Shared layouts (a "unit" is 4 bytes: one f32, or two consecutive bf16):
//   tokens  [chunks][groups][kChunkUnits][16 tokens] of units: 16 tokens side by side, so that a token is a
//           vector lane; chunks of K apart, so that what one step of a product reads lies together (rows at a
//           power-of-two distance would share a few cache sets)
//   panel   [rows / 16][units / 16][16 rows][16 units] of units: rows of the other matrix, read by broadcast
//   sums    [groups][rows][16 tokens] f32
// One micro-kernel multiplies panel x tokens; matrix products, attention scores and attention outputs all use
// it.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace vl8::cpu {

constexpr int kLane = 16;         // tokens in a group, rows and units in a panel tile
constexpr int kChunkUnits = 128;  // units of K that are expanded and multiplied at a time
constexpr int kGroupBytes = kChunkUnits * 64;  // one chunk of a token group
constexpr int kGemvTokens = 8;    // most tokens of one GemvTask
constexpr int kKeyBlock = 128;    // keys of one attention step
constexpr int kFlashGroups = 24;  // most groups of query rows of one FlashTask
constexpr int kMaxHeadDim = 256;

// i4 (value + 8) and e2m1 lie two to a byte, the even column in the low nibble.
enum class Number : uint8_t { f32, f16, bf16, e4m3, e5m2, i8, i4, e2m1 };
enum class Scaling : uint8_t { none, tensor, channel, block, group };
enum class Curve : uint8_t { none, gelu_tanh, exact_gelu_tanh, gelu_erf };

// Rows of a weight in the file's format, row-major [rows, k], no padding between rows.
struct WeightRows {
  const void* data;
  Number type;
  Scaling scaling;
  const float* scale;  // none: null; [1]; [rows]; [ceil(rows / block_rows), ceil(k / block_cols)]
  const uint16_t* scale_bf16;  // of groups, where `scale` is null: [rows, k / block_cols]
  int64_t rows, k, block_rows, block_cols;
};

// f32 rows to one group of the token layout. Rows beyond `rows` and units beyond k become zero.
struct PackTokens {
  const float* x;
  int64_t row_stride;        // in floats
  const int32_t* row_index;  // which rows of x; null: 0, 1, 2, ...
  int64_t rows, k;           // rows 1..16
  int64_t units;             // multiple of 16
  bool round_bf16;           // f32 units only: round to bf16 first
  void* out;                 // chunk 0 of the group
  int64_t chunk_bytes;       // from chunk to chunk
};

// What happens to finished sums on their way to y: y = curve(sum + bias) + residual.
struct Finish {
  const float* bias;      // [rows of the weight] or null
  const float* residual;  // same rows and stride as y, or null
  Curve curve;
};

// y[t, r] for tokens 0..tokens and weight rows row_begin..row_end (at most task_rows of the kernels, half of that
// where gated; row_begin multiple of 16). Gated: y = silu(w x) * (up x), where up has as many rows as w; panel tiles
// of w and up take turns, and of finish only the residual counts.
struct MultiplyTask {
  WeightRows w, up;
  bool gated;
  int64_t row_begin, row_end;
  const void* x;          // token layout, chunk 0 of the first group
  int64_t chunk_bytes;    // from chunk to chunk
  int64_t tokens, units;  // groups = ceil(tokens / 16), at most task_groups; units multiple of 16
  Finish finish;          // bias is indexed by row
  float* y;               // y[t * y_stride + r]
  int64_t y_stride;
  bool round_bf16;  // f32 units only: round weights to bf16
  void* panel;      // scratch: panel_bytes, 64-byte aligned
  float* sums;      // scratch: groups * task_rows * 16 floats
  int64_t next_row;  // a hint: rows that this thread is likely to multiply next; -1: none
};

// One of several tokens as a GemvTask wants them: blocks of 64 columns, in each block all tokens side by
// side, so that their addresses differ by constants. What a block of a token holds is the kernel's secret; it
// has gemv_block bytes.
struct GemvPack {
  const float* x;
  int64_t k, token, tokens;
  Number type;  // of the weight
  bool round_bf16;
  void* out;  // of all tokens: ceil(k / 64) * tokens * gemv_block bytes
};

// The same product for 1..8 tokens: weights are read once, straight from their file format. Block columns:
// multiple of 64.
struct GemvTask {
  WeightRows w;
  int64_t row_begin, row_end;
  const void* x;
  int64_t tokens;
  Finish finish;
  float* y;
  int64_t y_stride;
  bool round_bf16;
};

// Keys or values of one head: row j is at base + page(j) * page_stride + (j % page_tokens) * row_stride, in
// elements.
struct KvRows {
  const void* k;
  const void* v;
  bool bf16;             // else f32
  const int32_t* pages;  // null: one page holds all
  int64_t page_tokens, page_stride, row_stride;
};

// Attention of query rows row_begin..row_end over keys 0..kv_len of one kv head. Row r is token r / group,
// head r % group. Causal: token t sees keys 0..first_key + t.
struct FlashTask {
  KvRows kv;
  int64_t kv_len, head_dim;
  const float* q;
  int64_t q_token_stride, q_head_stride;
  float* out;
  int64_t out_token_stride, out_head_stride;
  int64_t group, row_begin, row_end;  // at most flash_rows
  bool causal;
  int64_t first_key;
  float scale;
  bool round_bf16;  // f32 units only: round queries to bf16
  void* scratch;    // flash_bytes(head_dim, kv_len), 64-byte aligned
};

// One token: `group` query heads over keys key_begin..key_end, as a part that merge_parts joins.
struct DecodeTask {
  KvRows kv;
  int64_t key_begin, key_end, head_dim, group;
  const float* q;  // [group, head_dim]
  float scale;
  float* out;      // [group, head_dim], not yet divided by sum
  float* max;      // [group], of scaled scores
  float* sum;      // [group]
  float* scratch;  // group * kKeyBlock floats
};

struct MatrixKernels {
  int64_t per_unit;    // elements of K in a unit: 1 (f32) or 2 (bf16)
  int64_t unit_align;  // heads are padded to this many units
  int64_t task_rows, task_groups;  // most of one MultiplyTask
  int64_t panel_bytes;
  void (*pack_tokens)(const PackTokens&);
  void (*multiply)(const MultiplyTask&);
  int64_t gemv_block;  // bytes of 64 columns of a token
  void (*gemv_pack)(const GemvPack&);
  void (*gemv)(const GemvTask&);
  int64_t flash_rows;  // most of one FlashTask
  int64_t (*flash_bytes)(int64_t head_dim, int64_t keys);
  void (*flash)(const FlashTask&);
  int64_t gemv_tokens;  // up to this many tokens gemv beats multiply
};

struct KernelTable {
  MatrixKernels exact;  // float32 arithmetic; each sum of multiply and flash is one chain in the order of its terms
  MatrixKernels bf16;   // products of bf16-rounded inputs, float32 sums
  void (*decode)(const DecodeTask&);
  // Rows of n floats. rms_norm: sum = x + delta when delta is given (sum may be null otherwise).
  void (*rms_norm)(const float* x, const float* delta, const float* weight, float eps, int64_t n, float* sum,
                   float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  void (*exact_layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  // One head: y = rope(rms_norm(x)); cos and sin are [n / 2]. weight null: no norm.
  void (*norm_rope)(const float* x, const float* weight, float eps, const float* cos, const float* sin,
                    int64_t n, float* y);
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* y);
  void (*add)(const float* x, const float* y, int64_t n, float* out);
  void (*axpy)(float a, const float* x, int64_t n, float* y);  // y += a x
  void (*to_bf16)(const float* x, int64_t n, uint16_t* y);
  void (*to_f32)(const void* x, Number type, float scale, int64_t n, float* y);  // y = x * scale
  int64_t (*read)(const void* data, int64_t bytes);  // streams bytes; for the bandwidth ceiling
  double (*peak)(int64_t rounds);  // matrix arithmetic in registers; returns FLOP done, best unit of this set
};

}  // namespace vl8::cpu

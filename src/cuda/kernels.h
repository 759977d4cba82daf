// Launch functions of all kernels but the matrix products (gemm.h). Plain parameters: device pointers, shapes, strides in
// elements. Activations (`Format act`) are F32 or BF16. All are asynchronous on ctx.stream, allocate nothing and can be
// captured in a graph. T rows, C features of a row, Hq/Hkv query/key heads, D head size.
#pragma once
#include <cstdint>

#include "cuda/gemm.h"
#include "cuda/step_types.h"

namespace vl8::cuda {

// --- rows
void cast_rows(const void* x, Format from, void* y, Format to, int64_t n, const GemmContext& ctx);  // n elements
void gather_rows(const void* x, Format act, const int32_t* rows, int64_t n, int64_t c, void* y, const GemmContext& ctx);
// table [V, C] in `table_format` (row scales apply where given) -> act [T, C]
void embed_rows(const GemmWeight& table, const int32_t* ids, int64_t t, void* y, Format act, const GemmContext& ctx);
void put_rows(void* x, const void* src, Format act, int64_t n, bool accumulate, const GemmContext& ctx);  // n elements
void add_rows(const void* x, const void* y, void* z, Format act, int64_t n, const GemmContext& ctx);
void silu_mul_rows(const void* gate_up, void* y, Format act, int64_t t, int64_t width, const GemmContext& ctx);  // [T, 2 width]

// --- norms. E4M3 copies of the result go to q and scale (gemm.h's 1x128 layout) where q is given; C % 16 == 0 then.
struct NormArgs {
  const void* x;
  const void* delta;    // sum = x + delta, or null
  void* sum;            // where delta is given
  const float* weight;  // [C]
  const float* bias;    // layer norm only
  void* y;              // may be null where q is given
  uint8_t* q;
  float* scale;
  Format act;
  int64_t t, c;
  float eps;
  int64_t scale_stride = 0;  // set by the launch
};
void rms_norm(const NormArgs& args, const GemmContext& ctx);
void layer_norm(const NormArgs& args, const GemmContext& ctx);

// --- rotary tables and heads
struct RopeAxes {
  int32_t section_h, section_w;  // pairs on H and W; the rest is T
};
void mrope_table(const int32_t* positions, const float* frequencies, float factor, RopeAxes axes, int64_t t, int64_t half, float* cos,
                 float* sin, const GemmContext& ctx);
struct PatchGrid {
  int32_t t, h, w, first_row;
};
// Rows in merge-block order; places [N] (y, x) and sizes come from `grids` (ascending first_row).
void vision_rope_table(const PatchGrid* grids, int32_t grid_count, int32_t merge, int64_t n, int64_t half, float* cos, float* sin,
                       const GemmContext& ctx);
void add_position_table(const void* x, const float* table, int32_t side, const PatchGrid* grids, int32_t grid_count, int32_t merge,
                        int64_t n, int64_t c, void* y, Format act, const GemmContext& ctx);

struct KvPlace {
  void *k, *v;  // pages of one layer, [pages, Hkv, page_tokens, D]
  Format format;
  const int32_t* slot;  // [T]: page * page_tokens + place in the page
  int32_t page_tokens;
};
struct QkNormRopeArgs {
  const void* qkv;  // [T, (Hq + 2 Hkv) D]
  const float *q_norm, *k_norm, *cos, *sin;
  void *q, *k, *v;  // [T, Hq, D], [T, Hkv, D]; k and v may be null where `place` is given
  KvPlace place;    // place.k null: keys and values go to k and v only
  Format act;
  int32_t t, hq, hkv, d;
  float eps;
};
void qk_norm_rope(const QkNormRopeArgs& args, const GemmContext& ctx);
void store_kv(const void* k, const void* v, Format act, const KvPlace& place, int32_t t, int32_t hkv, int32_t d, const GemmContext& ctx);
// qkv [N, 3 H D] -> the same shape with q and k rotated
void vision_rotate(const void* qkv, const float* cos, const float* sin, void* out, Format act, int64_t n, int32_t heads, int32_t d,
                   const GemmContext& ctx);

// --- attention. Device arrays of the step (batch.h).
struct PagedAttention {
  const void* q;  // [T, Hq, D]
  void* out;      // [T, Hq D]
  Format act;
  const void *k, *v;
  Format kv;
  const SeqMeta* seqs;
  const int32_t *pages, *row_seq, *decode_rows;
  const QueryTile* tiles;
  int32_t t, tile_count, decode_count, hq, hkv, d, page_tokens;
  float* partial;     // decode: workspace of decode_workspace_bytes
  int32_t* arrived;   // decode: zeroed counters, [kMaxDecodeRows * Hkv]; left zero
};
constexpr int kMaxDecodeRows = 4096;
int decode_splits(int decode_count, int hkv, int sm_count);  // parts that the keys of a row are split into
size_t decode_workspace_bytes(int decode_count, int hq, int d, int splits);
void attention_plain(const PagedAttention& a, const GemmContext& ctx);           // any shape and format; slow
bool decode_supported(const PagedAttention& a);
void attention_decode(const PagedAttention& a, const GemmContext& ctx);          // rows of decode_rows
bool prefill_supported(const PagedAttention& a);
void attention_prefill(const PagedAttention& a, const GemmContext& ctx);         // rows of tiles

struct VisionAttention {
  const void* qkv;  // [N, 3 H D], q and k rotated
  void* out;        // [N, H D]
  Format act;
  const int32_t* segments;  // [count + 1] on the device
  const QueryTile* tiles;   // seq: segment
  int32_t n, segment_count, tile_count, heads, d;
};
void vision_attention_plain(const VisionAttention& a, const GemmContext& ctx);
bool vision_supported(const VisionAttention& a);
void vision_attention(const VisionAttention& a, const GemmContext& ctx);

// --- experts. logits [T, E] F32; ties go to the lower expert.
void route_top_k(const float* logits, int32_t t, int32_t experts, int32_t k, int32_t* expert, float* weight, const GemmContext& ctx);
// offsets [E + 1]; row_token [T k]: token of a sorted row; row_of [T k]: sorted row of choice (t, i)
void group_by_expert(const int32_t* expert, int32_t t, int32_t k, int32_t experts, int32_t* offsets, int32_t* row_token, int32_t* row_of,
                     const GemmContext& ctx);
// y[t] = sum over i of weight[t, i] * x[row_of[t, i]]
void combine_experts(const void* x, Format act, const int32_t* row_of, const float* weight, int32_t t, int32_t k, int64_t c, void* y,
                     const GemmContext& ctx);

// --- sampling
void argmax_rows(const float* logits, int32_t rows, int64_t vocab, int32_t* out, const GemmContext& ctx);  // lowest id among equals

}  // namespace vl8::cuda

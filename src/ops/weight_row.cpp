#include "ops/weight_row.h"

namespace vl8 {
namespace {
float scale_at(const WeightPart& p, int64_t row, int64_t col, int64_t k) {
  switch (p.scale_kind) {
    case ScaleKind::none: return 1.0f;
    case ScaleKind::tensor: return p.scale[0];
    case ScaleKind::channel: return p.scale[row];
    case ScaleKind::group: {
      const int64_t at = row * (k / p.block_cols) + col / p.block_cols;
      return p.scale ? p.scale[at] : bf16_to_f32(p.scale_bf16[at]);
    }
    case ScaleKind::block: break;
  }
  int64_t blocks = (k + p.block_cols - 1) / p.block_cols;
  return p.scale[(row / p.block_rows) * blocks + col / p.block_cols];
}
}  // namespace

void weight_row_f32(const Weight& weight, int64_t row, float* out) {
  check(0 <= row && row < weight.n, "{}: row {} of {}", weight.name, row, weight.n);
  for (const WeightPart& p : weight.parts) {
    if (row >= p.rows) {
      row -= p.rows;
      continue;
    }
    for (int64_t c = 0; c < weight.k; ++c)
      out[c] = load_f32(p.data, p.dtype, size_t(row * weight.k + c)) * scale_at(p, row, c, weight.k);
    return;
  }
  check(false, "{}: parts have fewer rows than the weight", weight.name);
}

}  // namespace vl8

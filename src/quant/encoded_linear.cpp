#include "quant/encoded_linear.h"

#include <algorithm>

#include "core/error.h"
#include "ops/weight_row.h"
#include "quant/fp8_block.h"
#include "quant/histogram.h"

namespace vl8 {

EncodedLinear::EncodedLinear(const Weight& like, size_t parts) {
  linear.weight = {.name = like.name, .n = like.n, .k = like.k};
  matrices.reserve(parts), halves.reserve(parts);
}

void EncodedLinear::add(const Format& format, int64_t rows, EncodedMatrix matrix) {
  check(matrices.size() < matrices.capacity(), "{}: more parts than were reserved", linear.weight.name);
  matrices.push_back(std::move(matrix));
  EncodedMatrix& m = matrices.back();
  const CodingRow& row = coding_row(format.coding);
  WeightPart part{.data = m.codes.data(), .dtype = row.dtype, .rows = rows, .scale_kind = row.scaling};
  part.scale = row.scaling == ScaleKind::tensor ? &m.tensor_scale : m.scales.data();
  if (row.scaling == ScaleKind::group) {
    std::vector<uint16_t> half(m.scales.size());
    for (size_t i = 0; i < half.size(); ++i) half[i] = f32_to_bf16(m.scales[i]);
    halves.push_back(std::move(half));
    part.scale = nullptr, part.scale_bf16 = halves.back().data();
    part.block_rows = 1, part.block_cols = format.group;
  }
  linear.weight.input_scale = std::max(linear.weight.input_scale, m.input_scale);
  linear.weight.parts.push_back(part);
}

namespace {
// The rows of one part of a weight.
std::vector<float> part_rows(const Weight& one, int64_t row, int64_t count) {
  std::vector<float> w(size_t(count * one.k));
  for (int64_t r = 0; r < count; ++r) weight_row_f32(one, row + r, w.data() + r * one.k);
  return w;
}

EncodedMatrix encode_part(const Weight& one, const Format& f, ScaleRule rule, ThreadPool& pool) {
  constexpr int64_t kRows = 128;
  EncodedMatrix m;
  const bool block = f.coding == Coding::e4m3_block;
  const int64_t bytes = row_code_bytes(f, one.k), strips = (one.n + kRows - 1) / kRows;
  const int64_t per_strip = block ? (one.k + 127) / 128 : kRows * scales_per_row(f, one.k);
  m.codes.resize(size_t(one.n * bytes));
  m.scales.resize(size_t(block ? strips * per_strip : one.n * scales_per_row(f, one.k)));
  if (coding_row(f.coding).scaling == ScaleKind::tensor) {
    MagnitudeHistogram h;
    const std::vector<float> w = part_rows(one, 0, one.n);
    h.add(w.data(), int64_t(w.size()));
    m.tensor_scale = h.e4m3_scale(rule);
  }
  pool.parallel_for(strips, 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i * kRows, count = std::min(kRows, one.n - row);
      const std::vector<float> w = part_rows(one, row, count);
      uint8_t* codes = m.codes.data() + row * bytes;
      float* scales = m.scales.data() + i * per_strip;
      if (block) quantize_strip(w.data(), DType::f32, count, one.k, 128, codes, scales);
      else encode_strip({f, w.data(), count, one.k, rule, nullptr, m.tensor_scale, codes, scales});
    }
  });
  return m;
}
}  // namespace

EncodedLinear encode_in_memory(const Weight& weight, const std::vector<Format>& formats, ScaleRule rule, ThreadPool& pool) {
  check(formats.size() == weight.parts.size(), "{}: {} formats for {} parts", weight.name, formats.size(), weight.parts.size());
  EncodedLinear out(weight, formats.size());
  for (size_t i = 0; i < formats.size(); ++i) {
    const WeightPart& part = weight.parts[i];
    const Weight one{.name = weight.name, .n = part.rows, .k = weight.k, .parts = {part}};
    out.add(formats[i], part.rows, encode_part(one, formats[i], rule, pool));
  }
  return out;
}

}  // namespace vl8

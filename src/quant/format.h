// The number formats that a matrix can be written in, as a table, and their definition: how a strip of rows becomes
// codes and scales, and back. A code is w / scale rounded to nearest (ties to even) and clamped; the scale is the
// multiplier that is stored. All arithmetic is float32, so a plain loop gives the same bits (tests/quant).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "ops/weight.h"

namespace vl8 {

enum class Coding : uint8_t {
  keep,          // the source's own bytes
  e4m3_block,    // 128x128 blocks, the official layout
  e4m3_channel,  // a scale for each output row
  e4m3_tensor,   // one scale for the matrix
  e5m2_channel,
  i8_channel,  // -127..127
  i4_group,    // -8..7, groups along a row
  fp4_group,   // E2M1
};

struct Format {
  Coding coding = Coding::keep;
  int64_t group = 0;  // of i4_group and fp4_group: 32, 64 or 128; must divide k
  bool operator==(const Format&) const = default;
};

struct CodingRow {
  Coding coding;
  const char* name;
  DType dtype;
  ScaleKind scaling;
  float largest;  // magnitude of the largest code that the largest weight is mapped to
};
const CodingRow& coding_row(Coding coding);
std::string format_name(const Format& format);  // "int4 group 128"
inline bool is_four_bits(const Format& f) { return f.coding == Coding::i4_group || f.coding == Coding::fp4_group; }

// Bytes that a matrix [rows, k] takes in the file, scales included; `keep`: two bytes a weight.
uint64_t stored_bytes(const Format& format, int64_t rows, int64_t k);
int64_t scales_per_row(const Format& format, int64_t k);  // 0 for block and tensor: those are not by row

enum class ScaleRule : uint8_t {
  max,         // the largest weight is the largest code
  percentile,  // 99.9 % of the weights of a row (or matrix) are not clamped
  mse,         // the least squared error over a ladder of scales
};
std::optional<ScaleRule> scale_rule(std::string_view name);

// Sums over elements: of (w - q)^2, w^2, q^2 and w q, q being the decoded weight.
struct CodeError {
  double error = 0, square = 0, coded = 0, product = 0;
  void add(const CodeError& o) { error += o.error, square += o.square, coded += o.coded, product += o.product; }
  double relative() const;   // ||w - q|| / ||w||
  double sqnr_db() const;    // 10 log10(sum w^2 / sum (w - q)^2); 200 where there is no error
  double cosine() const;
};

// Strips of rows of a matrix [.., k]. codes: row_code_bytes(format, k) a row. scales: scales_per_row a row, already
// rounded to what the file holds (BF16 for groups, F32 else). importance: [k] or null, weighs squared errors.
struct EncodeStrip {
  Format format;
  const float* w = nullptr;
  int64_t rows = 0, k = 0;
  ScaleRule rule = ScaleRule::max;
  const float* importance = nullptr;
  float tensor_scale = 0;  // of e4m3_tensor
  uint8_t* codes = nullptr;
  float* scales = nullptr;
};
int64_t row_code_bytes(const Format& format, int64_t k);
// Nothing when a weight is NaN or infinite. Not for e4m3_block (fp8_block.h) and keep.
std::optional<CodeError> encode_strip(const EncodeStrip& strip);

// One code under one scale; the same rounding as encode_strip. For methods that choose codes one column at a time.
float round_to_code(Coding coding, float w, float scale);        // the decoded value
uint8_t code_of(Coding coding, float w, float scale);            // the code; four bits in the low half
float choose_group_scale(Coding coding, const float* w, int64_t n, ScaleRule rule, const float* importance);
void put_four_bits(uint8_t* row_codes, int64_t column, uint8_t code);

void decode_rows(const Format& format, const uint8_t* codes, const float* scales, float tensor_scale, int64_t rows,
                 int64_t k, float* out);

}  // namespace vl8

// E4M3 quantisation in blocks (spec 8.6): s = amax / 448 in float32 over the block (1 where the block is all
// zero, or so small that s would be 0), q = E4M3 of w / s (true division, then rounding to nearest, ties to
// even, clamped to +-448). The multiplier s is what is stored as `weight_scale_inv`. Edge blocks are smaller.
#pragma once
#include <cstdint>
#include <optional>

#include "core/dtype.h"

namespace vl8 {

struct BlockError {  // sums over elements: (w - q)^2, w^2, and q^2 and w q of the decoded weights
  double error = 0, square = 0, coded = 0, product = 0;
};

// Quantises one strip of rows [rows <= block, cols] of a row-major matrix of type f32, f16 or bf16.
// out [rows, cols]; scales [ceil(cols / block)]. Returns nothing when a value is NaN or infinite.
std::optional<BlockError> quantize_strip(const void* in, DType dtype, int64_t rows, int64_t cols,
                                         int64_t block, uint8_t* out, float* scales);

// n values to codes, saturating, and codes to values times a scale; no NaN. Vectorised, the bits of f32_to_e4m3.
void encode_e4m3(const float* x, int64_t n, uint8_t* out);
void decode_e4m3(const uint8_t* codes, int64_t n, float scale, float* out);

// The definition, element by element. Whole matrix: out [rows, cols], scales [ceil(rows / block), ceil(cols /
// block)].
bool quantize_reference(const float* in, int64_t rows, int64_t cols, int64_t block, uint8_t* out,
                        float* scales);

}  // namespace vl8

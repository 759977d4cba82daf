// Turns a row-major matrix: out[c][r] = in[r][c]. Elements of 1, 2 or 4 bytes; `in` and `out` do not overlap.
#pragma once
#include <cstddef>
#include <cstdint>

namespace vl8 {

void transpose(const void* in, int64_t rows, int64_t cols, size_t element_bytes, void* out);

}  // namespace vl8

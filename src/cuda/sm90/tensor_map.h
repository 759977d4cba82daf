// Descriptors of matrices for the tensor copy engine. Encoding is host work of about a microsecond.
#pragma once
#include <cuda.h>

#include "cuda/gemm.h"

namespace vl8::cuda::sm90 {

// A row-major matrix [rows, columns] of row stride `stride` elements, fetched in boxes of box_rows x box_columns.
// Elements outside read as zero. swizzle: the 128-byte swizzle that wgmma reads; then a box row is 128 bytes.
CUtensorMap matrix_map(const void* data, Format format, int64_t rows, int64_t columns, int64_t stride, int box_rows,
                       int box_columns, bool swizzle);

// BF16 [rows, heads, dim], dense, fetched 64 features of one head and box_rows rows at a time, with the 128-byte swizzle.
// Features from dim on read as zero.
CUtensorMap heads_map(const void* data, int64_t rows, int64_t heads, int64_t dim, int box_rows);

}  // namespace vl8::cuda::sm90

// Device helpers of gemm_bench (gemm_bench_kernels.cu).
#pragma once
#include "cuda/gemm.h"

namespace vl8::cuda {

void fill_random(void* p, Format format, size_t n, float scale, uint64_t seed);
void fill_scales(float* p, size_t n, uint64_t seed);
// out[0] += sum (a - b)^2, out[1] += sum b^2, in float64.
void sum_differences(const void* a, const float* b, Format format, size_t n, double* out);
// Plain attention: q [rows, heads, d] (row stride q_stride), k and v [rows, kv_heads, d] (kv_stride), out F32 [rows, heads, d].
void reference_attention(const void* q, const void* k, const void* v, float* out, int rows, int heads, int kv_heads, int d, int q_stride,
                         int kv_stride, bool causal);
void copy_to_pages(const void* x, void* pages, int rows, int kv_heads, int page_tokens, int d);
void read_all(const void* p, size_t bytes, uint32_t* sink, Stream stream);

}  // namespace vl8::cuda

// cuBLASLt as an alternative for many rows and as the yardstick of our kernels. Loaded at run time: a machine without it
// loses nothing but the alternative.
#pragma once
#include "cuda/gemm_args.h"

namespace vl8::cuda {

// Whether libcublasLt (12.9 or newer) could be loaded.
bool cublaslt_found();
// BF16 x BF16, or E4M3 with block scales (which cuBLASLt can do on Hopper when k is a multiple of 512: it wants rows of
// weight scales padded to 4). No bias, activation, silu_mul or experts; y dense in rows of y_stride.
bool cublaslt_fits(const GemmArgs& args);
// False when cuBLASLt has no algorithm for the product.
bool launch_cublaslt(const GemmArgs& args, void* workspace, size_t workspace_bytes, Stream stream);

}  // namespace vl8::cuda

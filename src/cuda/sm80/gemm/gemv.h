// One to four rows of x: W streams through registers, each 16-byte load used for every row.
#pragma once
#include "cuda/gemm_args.h"

namespace vl8::cuda {

// Not for Scales::row_block. With experts, m is the rows of all experts together and each row is a task of its own.
void launch_gemv(const GemmArgs& args, const GemmContext& context);

}  // namespace vl8::cuda

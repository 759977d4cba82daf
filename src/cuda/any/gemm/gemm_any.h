// The matrix product that takes every combination of formats, scales and sizes, in float32 FMA: parity runs in
// float32, shapes that no fast kernel takes, and the yardstick of their tests.
#pragma once
#include "cuda/gemm_args.h"

namespace vl8::cuda {

void launch_gemm_any(const GemmArgs& args, const GemmContext& context);
void launch_quantize_rows(const GemmInput& x, int k, void* q, float* scale, const GemmContext& context);

}  // namespace vl8::cuda

// Products with a kernel that the caller names: for tests, benchmarks and the autotuner.
#pragma once
#include "cuda/choose/gemm_choice.h"
#include "cuda/gemm.h"

namespace vl8::cuda {

GemmProblem problem_of(const GemmParams& params, const GemmContext& context);
// `choice` must be able to do the product (choose_gemm never returns one that is not).
void gemm_as(const GemmParams& params, const GemmChoice& choice, const GemmContext& context);
void grouped_gemm_as(const GroupedGemmParams& params, const GemmChoice& choice, const GemmContext& context);

}  // namespace vl8::cuda

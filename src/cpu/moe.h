// Mixture of experts: tokens are grouped by expert, each expert that has tokens is two matrix products.
#pragma once
#include "cpu/context.h"

namespace vl8::cpu {
void run_moe(Context& context, const Tensor& x, const Moe& moe, float* out);  // out [T, C]
}  // namespace vl8::cpu

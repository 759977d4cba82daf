// One output row of a weight as exact float32 values (q * scale): the definition that every kernel is tested against.
#pragma once
#include "ops/weight.h"

namespace vl8 {

void weight_row_f32(const Weight& weight, int64_t row, float* out);  // out [k]

}  // namespace vl8

// Work on the patches of the vision tower that depends on where each patch lies.
#pragma once
#include "cpu/context.h"

namespace vl8::cpu {

// Spec 6.2: out [N, C] = x + the position table [side * side, C], interpolated at each patch.
void add_position_embedding(Context& context, const Tensor& x, const Tensor& table,
                            std::span<const Grid> grids, int64_t merge, float* out);
// Spec 6.3: cos and sin [N, head_dim / 2].
void vision_rope(Context& context, std::span<const Grid> grids, int64_t head_dim, int64_t merge, float* cos,
                 float* sin);

}  // namespace vl8::cpu

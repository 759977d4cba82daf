// Matrix products by mma.sync on tiles, for every chip since compute capability 8.0.
#pragma once
#include "cuda/choose/gemm_choice.h"
#include "cuda/gemm_args.h"

namespace vl8::cuda {

// tile.rows 32 or 128, tile.columns 128. x and W: BF16 and BF16, BF16 and E4M3, or E4M3 and E4M3. `splits` blocks share a
// tile along k (their sums meet in context.workspace, added in order).
void launch_mma(const GemmArgs& args, const TileShape& tile, int splits, const GemmContext& context);

}  // namespace vl8::cuda

#include "cuda/sm80/gemm/mma.h"

#include "core/error.h"

namespace vl8::cuda {

void launch_mma_bf16_bf16(const GemmArgs& a, int rows, int splits, const GemmContext& context);
void launch_mma_bf16_e4m3(const GemmArgs& a, int rows, int splits, const GemmContext& context);
void launch_mma_e4m3_e4m3(const GemmArgs& a, int rows, int splits, const GemmContext& context);

void launch_mma(const GemmArgs& a, const TileShape& tile, int splits, const GemmContext& context) {
  check(splits == 1 || context.workspace, "a product split along k needs the workspace");
  if (a.x_format == Format::e4m3) return launch_mma_e4m3_e4m3(a, tile.rows, splits, context);
  if (a.w_format == Format::e4m3) return launch_mma_bf16_e4m3(a, tile.rows, splits, context);
  launch_mma_bf16_bf16(a, tile.rows, splits, context);
}

}  // namespace vl8::cuda

#include "cuda/sm80/gemm/mma.cuh"

namespace vl8::cuda {

void launch_mma_bf16_bf16(const GemmArgs& a, int rows, int splits, const GemmContext& context) {
  if (rows == 128) return launch_mma_as<Format::bf16, Format::bf16, 128>(a, splits, context);
  launch_mma_as<Format::bf16, Format::bf16, 32>(a, splits, context);
}

}  // namespace vl8::cuda

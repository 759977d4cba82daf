#include "cuda/sm80/gemm/mma.cuh"

namespace vl8::cuda {

void launch_mma_e4m3_e4m3(const GemmArgs& a, int rows, int splits, const GemmContext& context) {
  if (rows == 128) return launch_mma_as<Format::e4m3, Format::e4m3, 128>(a, splits, context);
  launch_mma_as<Format::e4m3, Format::e4m3, 32>(a, splits, context);
}

}  // namespace vl8::cuda

// The tile kernels of compute capability 9.0 that are built, by format.
#pragma once
#include "cuda/choose/gemm_choice.h"
#include "cuda/gemm_args.h"

namespace vl8::cuda::sm90 {

struct TileKernel {
  TileShape shape;
  bool fused;  // gate and up in one tile, y = silu(gate) * up
  void (*launch)(const GemmArgs& args, int band, const GemmContext& context);
};
// Rows of each format; x and W must have that format.
const TileKernel* find_e4m3_tiles(const TileShape& shape, bool fused);
const TileKernel* find_bf16_tiles(const TileShape& shape, bool fused);

}  // namespace vl8::cuda::sm90

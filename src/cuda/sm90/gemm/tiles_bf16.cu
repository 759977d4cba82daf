// The BF16 tile kernels that are built; which is best for a product is decided in choose/gemm_choice.cpp.
#include "cuda/sm90/gemm/tiles.cuh"

namespace vl8::cuda::sm90 {

const TileKernel* find_bf16_tiles(const TileShape& shape, bool fused) {
  static const TileKernel kernels[] = {
      {{128, 256, 2}, false, launch_tiles_as<Format::bf16, 1, 256, 2, false>},
      {{128, 256, 2}, true, launch_tiles_as<Format::bf16, 1, 256, 2, true>},
      {{128, 256, 1}, false, launch_tiles_as<Format::bf16, 1, 256, 1, false>},
      {{128, 128, 1}, false, launch_tiles_as<Format::bf16, 1, 128, 1, false>},
      {{128, 216, 1}, false, launch_tiles_as<Format::bf16, 1, 216, 1, false>},
      {{128, 192, 1}, false, launch_tiles_as<Format::bf16, 1, 192, 1, false>},
      {{128, 144, 1}, false, launch_tiles_as<Format::bf16, 1, 144, 1, false>},
      {{128, 128, 2}, false, launch_tiles_as<Format::bf16, 1, 128, 2, false>},
  };
  for (const TileKernel& k : kernels)
    if (k.shape == shape && k.fused == fused) return &k;
  return nullptr;
}

}  // namespace vl8::cuda::sm90

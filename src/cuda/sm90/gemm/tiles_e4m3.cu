// The E4M3 tile kernels that are built; which is best for a product is decided in choose/gemm_choice.cpp.
#include "cuda/sm90/gemm/tiles.cuh"

namespace vl8::cuda::sm90 {

const TileKernel* find_e4m3_tiles(const TileShape& shape, bool fused) {
  static const TileKernel kernels[] = {
      {{256, 128, 2}, false, launch_tiles_as<Format::e4m3, 2, 128, 2, false>},
      {{256, 128, 2}, true, launch_tiles_as<Format::e4m3, 2, 128, 2, true>},
      {{128, 128, 2}, false, launch_tiles_as<Format::e4m3, 1, 128, 2, false>},
      {{128, 128, 2}, true, launch_tiles_as<Format::e4m3, 1, 128, 2, true>},
      {{256, 128, 1}, false, launch_tiles_as<Format::e4m3, 2, 128, 1, false>},
      {{256, 128, 1}, true, launch_tiles_as<Format::e4m3, 2, 128, 1, true>},
      {{128, 128, 1}, false, launch_tiles_as<Format::e4m3, 1, 128, 1, false>},
      {{128, 128, 1}, true, launch_tiles_as<Format::e4m3, 1, 128, 1, true>},
  };
  for (const TileKernel& k : kernels)
    if (k.shape == shape && k.fused == fused) return &k;
  return nullptr;
}

}  // namespace vl8::cuda::sm90

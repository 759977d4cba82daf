// The BF16 tile kernels in which the warpgroups take turns: for short k, where writing a tile takes a good part of its time.
#include "cuda/sm90/gemm/tiles.cuh"

namespace vl8::cuda::sm90 {

const TileKernel* find_bf16_turns(const TileShape& shape, bool fused) {
  static const TileKernel kernels[] = {
      {{128, 192, 1, true}, false, launch_tiles_as<Format::bf16, 2, 192, 1, false, true>},
      {{128, 144, 1, true}, false, launch_tiles_as<Format::bf16, 2, 144, 1, false, true>},
      {{128, 136, 1, true}, false, launch_tiles_as<Format::bf16, 2, 136, 1, false, true>},
      {{128, 128, 1, true}, false, launch_tiles_as<Format::bf16, 2, 128, 1, false, true>},
  };
  for (const TileKernel& k : kernels)
    if (k.shape == shape && k.fused == fused) return &k;
  return nullptr;
}

}  // namespace vl8::cuda::sm90

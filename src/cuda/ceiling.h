// What this GPU can do at most, measured: the yardsticks of every benchmark, taken in the same run as the figures they judge.
#pragma once

namespace vl8 {

struct CudaCeiling {
  double read_gb_per_s = 0;      // reading memory many times the size of L2
  double mma_bf16_tflops = 0;    // mma.sync on registers, which compute capability 9.0 runs at about two thirds of its peak
};
CudaCeiling measure_cuda_ceiling(int device);

}  // namespace vl8

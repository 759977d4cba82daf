// The CUDA backend of Ops. Activations are BF16 in Precision::bf16 and w8a8, F32 in f32 and w8a16; the key/value cache is
// F32 where activations are, else BF16. Tensors point to device memory. Matrix products: cuda/gemm.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace vl8 {

struct CudaOptions {
  Precision precision = Precision::bf16;
  int device = 0;
  double memory_utilization = 0.9;  // share of the card's memory that may be used, what others hold included
  bool graphs = true;               // record decode steps and replay them
  bool early_launch = true;         // programmatic dependent launch, from compute capability 9.0 on
  bool hopper_attention = true;     // wgmma kernels for prompts and pictures, on compute capability 9.0
  bool tune = false;                // time the candidates of each matrix product once (kept in ~/.cache/vl8)
};

struct CudaDeviceInfo {
  int ordinal = 0, compute_capability = 0;  // 90: 9.0
  int multiprocessors = 0;
  std::string name;
  size_t total_bytes = 0, free_bytes = 0;
};

bool cuda_built();  // this program has the backend
// The device, or Error(unsupported) that says why there is none and what to do.
CudaDeviceInfo cuda_device(int ordinal);
bool cuda_usable();  // cuda_device(0) would not fail
// VL8_CUDA in the environment overrides the switches of `options`.
std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options);

}  // namespace vl8

// What a model would take of a GPU's memory, before anything is loaded: the arithmetic of `vl8 inspect --backend cuda`.
#pragma once
#include "cuda/cuda_ops.h"
#include <nlohmann/json.hpp>

#include "inspect_report.h"

namespace vl8 {

struct GpuPlan {
  uint64_t weights = 0, kv = 0, activations = 0, workspace = 0;  // bytes
  uint64_t total() const { return weights + kv + activations + workspace; }
  uint64_t kv_bytes_per_token = 0;
  uint64_t budget = 0;         // of the card: utilization x memory, less what others hold; 0: no card here
  int64_t most_context = 0;    // tokens that fit beside the rest, at most the model's limit; 0: the weights do not fit
  std::string card;
};

// For the report's context and a prompt chunk of `chunk` tokens in BF16. `card`: the GPU of this machine, if there is one.
GpuPlan plan_gpu(const InspectReport& report, const CudaDeviceInfo* card, double utilization, int64_t chunk = 512);
std::string gpu_plan_text(const GpuPlan& plan, int64_t context);
nlohmann::ordered_json gpu_plan_json(const GpuPlan& plan);

}  // namespace vl8

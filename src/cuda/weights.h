// Weights on the device: fused parts become one matrix, scales one table, straight from the mapped file through two
// page-locked buffers, so that no second copy is made in host memory.
#pragma once
#include <unordered_map>

#include "cuda/device.h"
#include "ops/ops.h"

namespace vl8::cuda {

// How a weight is stored on the device. Pure host logic.
struct WeightPlan {
  Format format = Format::bf16;
  Scales scales = Scales::none;
  bool convert = false;  // parts are dequantised or converted on the host: a layout that no kernel reads
  bool operator==(const WeightPlan&) const = default;
};
WeightPlan plan_weight(const Weight& weight, Precision precision);
std::vector<float> scale_table(const Weight& weight, Scales scales);  // F32, as gemm.h lays it out; empty for none
size_t device_bytes(const Weight& weight, const WeightPlan& plan);

struct DeviceWeight : PreparedWeight {
  GemmWeight gemm;
  bool is_head = false;  // its products are logits: float32
};
struct DeviceExperts : PreparedWeight {
  GemmWeight gate_up, down;  // [E, n, k]
};

class WeightUploader {
 public:
  WeightUploader(DeviceHeap& heap, Stream stream, Precision precision);
  ~WeightUploader();
  std::shared_ptr<DeviceWeight> weight(const Weight& weight);
  std::shared_ptr<DeviceExperts> experts(const Moe& moe);
  float* floats(const float* host, int64_t n);  // kept as long as the uploader
  bool has_fp8() const { return has_fp8_; }
  void finish();  // waits for copies and gives the page-locked buffers back

 private:
  struct Slot;
  void copy(void* device, const void* host, size_t bytes);
  void put(const Weight& weight, const WeightPlan& plan, char* data, float* scale);
  GemmWeight stack(std::span<const Linear> experts, std::string_view what);

  DeviceHeap& heap_;
  DeviceArena small_;
  Stream stream_;
  Precision precision_;
  bool has_fp8_ = false;
  std::vector<std::unique_ptr<Slot>> slots_;
  size_t next_ = 0;
  std::unordered_map<const void*, std::weak_ptr<DeviceWeight>> shared_;  // a tied head is the embedding table
};

}  // namespace vl8::cuda

// The arithmetic of GPU memory: no GPU needed.
#include "gpu_plan.h"

#include <gtest/gtest.h>

namespace vl8 {
namespace {

InspectReport report() {
  InspectReport r;
  TextConfig& t = r.config.text;
  t.layers = 36, t.hidden_size = 4096, t.q_heads = 32, t.kv_heads = 8, t.head_dim = 128, t.intermediate_size = 12288, t.max_positions = 262144;
  r.config.vision.hidden_size = 1152, r.config.vision.intermediate_size = 4304;
  r.needed_bytes = 10'600'000'000, r.context = 8192;
  return r;
}

TEST(GpuPlan, CountsKeysAndValues) {
  const GpuPlan p = plan_gpu(report(), nullptr, 0.9);
  EXPECT_EQ(p.kv_bytes_per_token, 147456u);  // 36 layers x 8 heads x 128 x 2 (K, V) x 2 bytes
  EXPECT_EQ(p.kv, 147456u * 8192);
  EXPECT_EQ(p.budget, 0u);
  EXPECT_GT(p.activations, 100u << 20);
}

TEST(GpuPlan, SaysHowMuchContextACardHolds) {
  CudaDeviceInfo card{.name = "card", .total_bytes = 24'000'000'000, .free_bytes = 23'000'000'000};
  const GpuPlan p = plan_gpu(report(), &card, 0.9);
  EXPECT_EQ(p.budget, 20'600'000'000u);
  EXPECT_LE(p.total() - p.kv + uint64_t(p.most_context) * p.kv_bytes_per_token, p.budget);
  EXPECT_GT(p.total() - p.kv + uint64_t(p.most_context + 1) * p.kv_bytes_per_token, p.budget);
  card.total_bytes = card.free_bytes = 10'000'000'000;
  const GpuPlan small = plan_gpu(report(), &card, 0.9);
  EXPECT_EQ(small.most_context, 0);
  EXPECT_NE(gpu_plan_text(small, 8192).find("do not fit"), std::string::npos);
}

}  // namespace
}  // namespace vl8

// The backend under test beside the reference, with tolerances from the type of the activations.
#pragma once
#include <list>

#include "cpu/support.h"
#include "cuda/cuda_ops.h"

namespace vl8::testing {

class CudaTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (!cuda_usable()) GTEST_SKIP() << "no GPU";
    op_ = make_cuda_ops({.precision = GetParam(), .memory_utilization = 0.5});
    reference_ = std::make_unique<RefOps>(GetParam());
    op_->begin_step(), reference_->begin_step();
  }
  bool rounds() const { return GetParam() == Precision::bf16 || GetParam() == Precision::w8a8; }
  // Relative error in the Euclidean norm: a few roundings of BF16 (2^-9), or float32 sums in another order.
  double tolerance() const { return rounds() ? 8e-3 : 3e-6; }

  // The same numbers on both sides. Where activations are BF16 they are exact in it.
  struct Both {
    Tensor device, host;
  };
  Both both(std::vector<float> values, Shape shape) {
    if (rounds())
      for (float& v : values) v = bf16_to_f32(f32_to_bf16(v));
    kept_.push_back(std::move(values));
    Tensor host{kept_.back().data(), DType::f32, shape};
    return {op_->upload(host), host};
  }
  Tensor parameter(std::vector<float> values) {
    const int64_t n = int64_t(values.size());
    kept_.push_back(std::move(values));
    return {kept_.back().data(), DType::f32, {n}};
  }
  void expect_close(const Tensor& device, const Tensor& host, double tolerance) {
    ASSERT_EQ(device.shape.str(), host.shape.str());
    const std::vector<float> got = op_->download(device);
    double error = 0, norm = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double want = host.f32()[i];
      ASSERT_TRUE(std::isfinite(got[i])) << "element " << i << " is " << got[i] << ", not " << want << " (seed " << random_.seed() << ")";
      error += (got[i] - want) * (got[i] - want), norm += want * want;
    }
    EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(norm) + 1e-12) << "seed " << random_.seed();
  }
  void expect_close(const Tensor& device, const Tensor& host) { expect_close(device, host, tolerance()); }

  Random random_;
  std::list<std::vector<float>> kept_;
  std::unique_ptr<Ops> op_;
  std::unique_ptr<RefOps> reference_;
};

inline std::string precision_name(const ::testing::TestParamInfo<Precision>& info) {
  constexpr const char* kNames[] = {"f32", "bf16", "w8a16", "w8a8"};
  return kNames[size_t(info.param)];
}

}  // namespace vl8::testing

// What the CPU tests share: the instruction sets to try, random weights of every format, and a seed that a
// failing test prints so that its numbers can be had again.
#pragma once
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cpu/cpu_ops.h"
#include "cpu/isa.h"
#include "ops/ref_ops.h"
#include "ops/weight_row.h"

namespace vl8::cpu {
extern const KernelTable table_amx_emulated;
inline void PrintTo(const Isa& isa, std::ostream* to) {
  *to << isa.name;
}
}  // namespace vl8::cpu

namespace vl8::testing {

// Every set this machine can run, and AMX with tiles in software where its vector part can run.
inline std::vector<cpu::Isa> test_isas() {
  std::vector<cpu::Isa> list;
  for (const cpu::Isa& row : cpu::isa_rows())
    if (row.supported()) list.push_back(row);
  for (const cpu::Isa& row : list)
    if (row.name == "avx512_bf16") {
      list.push_back({"amx_emulated", row.needs, row.supported, &cpu::table_amx_emulated});
      break;
    }
  return list;
}

class IsaTest : public ::testing::TestWithParam<cpu::Isa> {
 protected:
  std::unique_ptr<Ops> ops(Precision p, int threads = 2) { return cpu::make_ops(p, threads, GetParam()); }
  bool slow() const { return GetParam().name == "amx_emulated" || GetParam().name == "scalar"; }
};
inline std::string isa_name(const ::testing::TestParamInfo<cpu::Isa>& info) {
  return std::string(info.param.name);
}
#define VL8_EACH_ISA(suite) \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, ::testing::ValuesIn(vl8::testing::test_isas()), vl8::testing::isa_name)

class Random {
 public:
  Random() : seed_(std::random_device{}()), engine_(seed_) {}
  explicit Random(uint64_t seed) : seed_(seed), engine_(seed) {}
  uint64_t seed() const { return seed_; }
  int64_t below(int64_t n) { return int64_t(engine_() % uint64_t(n)); }
  float normal(float sigma = 1) { return std::normal_distribution<float>(0, sigma)(engine_); }
  std::vector<float> normals(int64_t n, float sigma = 1) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = normal(sigma);
    return v;
  }

 private:
  uint64_t seed_;
  std::mt19937_64 engine_;
};

inline Tensor view(std::vector<float>& v, Shape shape) {
  return {v.data(), DType::f32, shape};
}

// A linear layer that owns its numbers.
struct OwnedLinear {
  Linear linear;
  std::vector<std::vector<uint8_t>> data;
  std::vector<std::vector<float>> scales;
  std::vector<float> bias;

  void add_part(Random& random, DType type, int64_t rows, int64_t k, ScaleKind kind, int64_t block_rows = 128,
                int64_t block_cols = 128) {
    const bool narrow = type == DType::i8 || type == DType::i4 || type == DType::e2m1;  // any code is a number
    const size_t count = size_t(rows * k);
    std::vector<uint8_t> bytes(count * size_t(dtype_bits(type)) / 8);
    for (size_t i = 0; narrow && i < bytes.size(); ++i) bytes[i] = uint8_t(random.below(256));
    for (size_t i = 0; !narrow && i < count; ++i) put(random, type, bytes.data() + i * dtype_bytes(type));
    int64_t n = kind == ScaleKind::none     ? 0
                : kind == ScaleKind::tensor ? 1
                : kind == ScaleKind::channel
                    ? rows
                : kind == ScaleKind::group
                    ? rows * (k / block_cols)
                    : (rows + block_rows - 1) / block_rows * ((k + block_cols - 1) / block_cols);
    std::vector<float> scale(static_cast<size_t>(n));
    for (float& s : scale) s = 0.001f * std::exp(random.normal());
    data.push_back(std::move(bytes)), scales.push_back(std::move(scale));
    linear.weight.parts.push_back(
        {data.back().data(), type, rows, kind, n ? scales.back().data() : nullptr, block_rows, block_cols});
    linear.weight.n += rows, linear.weight.k = k;
    linear.weight.name = "test";
  }
  // Of the last part, which has groups: the scales as files have them.
  void scales_to_bf16() {
    std::vector<uint8_t> bytes(scales.back().size() * 2);
    for (size_t i = 0; i < scales.back().size(); ++i) {
      const uint16_t h = f32_to_bf16(scales.back()[i]);
      std::memcpy(bytes.data() + 2 * i, &h, 2);
    }
    data.push_back(std::move(bytes));
    linear.weight.parts.back().scale = nullptr;
    linear.weight.parts.back().scale_bf16 = reinterpret_cast<const uint16_t*>(data.back().data());
  }
  void add_bias(Random& random) {
    bias = random.normals(linear.weight.n);
    linear.bias = {bias.data(), DType::f32, Shape{linear.weight.n}};
  }

 private:
  // FP8: any finite code, so that subnormals and zeros are common. Others: normal numbers.
  static void put(Random& random, DType type, uint8_t* to) {
    float x = random.normal();
    uint16_t h = type == DType::f16 ? f32_to_f16(x) : f32_to_bf16(x);
    if (type == DType::f32) std::memcpy(to, &x, 4);
    if (type == DType::f16 || type == DType::bf16) std::memcpy(to, &h, 2);
    if (type == DType::e4m3 || type == DType::e5m2) {
      uint8_t q = uint8_t(random.below(256));
      if (type == DType::e4m3 && (q & 0x7f) == 0x7f) q = 0x38;
      if (type == DType::e5m2) q = f32_to_e5m2(x * std::exp2(float(random.below(20)) - 16));
      *to = q;
    }
  }
};

}  // namespace vl8::testing

// Every matrix kernel, emulated on the CPU, against float64 loops: ragged sizes, every format, scale and epilogue, experts
// with and without rows, sums split over blocks. The kernels for clusters of two blocks need a GPU (tools/gpu/gemm_bench).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/dtype.h"
#include "cuda/gemm_with.h"

namespace vl8::cuda {
namespace {

struct Case {
  int64_t m, n, k;
  GemmChoice choice;
  Format x = Format::e4m3, w = Format::e4m3, y = Format::f32;
  Scales scales = Scales::block;
  Epilogue epilogue = Epilogue::none;
  bool bias = false, residual = false;
  int64_t experts = 1;
};

// A random matrix in one of the formats, and its values.
struct Random {
  std::vector<uint8_t> bytes;
  std::vector<double> values;
  Random(size_t n, Format f, std::mt19937_64& rng) : bytes(n * size_t(format_bytes(f)) + 16), values(n) {
    std::normal_distribution<float> normal(0, f == Format::e4m3 ? 60.0f : 1.0f);
    for (size_t i = 0; i < n; ++i) {
      float v = normal(rng);
      if (f == Format::e4m3) {
        bytes[i] = f32_to_e4m3(v), values[i] = e4m3_to_f32(bytes[i]);
      } else if (f == Format::bf16) {
        reinterpret_cast<uint16_t*>(bytes.data())[i] = f32_to_bf16(v), values[i] = bf16_to_f32(f32_to_bf16(v));
      } else {
        reinterpret_cast<float*>(bytes.data())[i] = v, values[i] = v;
      }
    }
  }
};
std::vector<float> random_scales(size_t n, std::mt19937_64& rng) {
  std::uniform_real_distribution<float> uniform(0.01f, 0.06f);
  std::vector<float> s(n);
  for (float& v : s) v = uniform(rng);
  return s;
}
double act(double v, Epilogue e) {
  if (e == Epilogue::gelu_tanh) return 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
  if (e == Epilogue::gelu_erf) return 0.5 * v * (1 + std::erf(v * std::sqrt(0.5)));
  return v;
}

void run(const Case& c, int sm_count = 3) {
  std::mt19937_64 rng(std::random_device{}());
  size_t m = size_t(c.m), n = size_t(c.n), k = size_t(c.k), e = size_t(c.experts), groups = size_t(scale_groups(c.k));
  bool fused = c.epilogue == Epilogue::silu_mul;
  size_t columns = fused ? n / 2 : n, row_blocks = (n + 127) / 128;
  Random x(m * k, c.x, rng), w(e * n * k, c.w, rng), residual(m * columns, Format::bf16, rng), bias(n, Format::f32, rng);
  auto x_scale = random_scales(groups * size_t(scale_stride(c.m)), rng);
  auto w_scale = random_scales(c.scales == Scales::row ? e * n : c.scales == Scales::row_block ? e * n * groups : e * row_blocks * groups, rng);
  std::vector<int32_t> offsets(e + 1, 0), expert_of(m, 0);
  for (size_t i = 0; i < m; ++i) expert_of[i] = int32_t(rng() % (e > 2 ? e - 1 : e));  // the last stays empty
  std::sort(expert_of.begin(), expert_of.end());
  for (size_t i = 0; i < m; ++i) ++offsets[size_t(expert_of[i]) + 1];
  for (size_t i = 0; i < e; ++i) offsets[i + 1] += offsets[i];

  std::vector<uint8_t> y(m * columns * size_t(format_bytes(c.y)) + 64, 0xff), workspace(kGemmWorkspaceBytes, 0);
  GroupedGemmParams p;
  p.gemm.x = {x.bytes.data(), c.x, c.x == Format::e4m3 ? x_scale.data() : nullptr, c.m, 0};
  p.gemm.w = {w.bytes.data(), c.w, c.scales, c.scales == Scales::none ? nullptr : w_scale.data(), c.n, c.k};
  p.gemm.y = {y.data(), c.y, 0};
  p.gemm.bias = c.bias ? reinterpret_cast<const float*>(bias.bytes.data()) : nullptr;
  p.gemm.residual = c.residual ? residual.bytes.data() : nullptr;
  p.gemm.epilogue = c.epilogue;
  p.experts = c.experts, p.offsets = offsets.data();
  GemmContext context;
  context.sm = 90, context.sm_count = sm_count, context.workspace = workspace.data(), context.workspace_bytes = workspace.size();
  for (int again = 0; again < 2; ++again)  // the second run finds the workspace as the first left it
    e > 1 ? grouped_gemm_as(p, c.choice, context) : gemm_as(p.gemm, c.choice, context);

  auto scale = [&](size_t expert, size_t row, size_t group) -> double {
    if (c.scales == Scales::none) return 1;
    if (c.scales == Scales::row) return w_scale[expert * n + row];
    if (c.scales == Scales::block) return w_scale[(expert * row_blocks + row / 128) * groups + group];
    return w_scale[(expert * n + row) * groups + group];
  };
  auto product = [&](size_t i, size_t row) {
    double sum = 0;
    size_t expert = size_t(expert_of[i]);
    for (size_t g = 0; g < groups; ++g) {
      double part = 0;
      for (size_t kk = 128 * g; kk < std::min(k, 128 * g + 128); ++kk)
        part += x.values[i * k + kk] * w.values[(expert * n + row) * k + kk];
      sum += part * scale(expert, row, g) * (c.x == Format::e4m3 ? x_scale[g * size_t(scale_stride(c.m)) + i] : 1.0);
    }
    return sum + (c.bias ? bias.values[row] : 0);
  };
  double difference = 0, norm = 0;
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < columns; ++j) {
      double v = act(product(i, j), c.epilogue);
      if (fused) v = v / (1 + std::exp(-v)) * product(i, j + columns);
      if (c.residual) v += residual.values[i * columns + j];
      double got = c.y == Format::f32 ? reinterpret_cast<float*>(y.data())[i * columns + j]
                                      : bf16_to_f32(reinterpret_cast<uint16_t*>(y.data())[i * columns + j]);
      difference += (got - v) * (got - v), norm += v * v;
    }
  // float32 sums of up to 1,000 products; BF16 results are rounded by 2^-9 at most.
  EXPECT_LT(std::sqrt(difference / norm), c.y == Format::bf16 ? 3e-3 : 3e-6)
      << describe({90, sm_count, c.m, c.n, c.k, c.experts, c.x, c.w, c.y, c.scales, fused}, c.choice);
  for (size_t i = 0; i < 64; ++i) ASSERT_EQ(y[y.size() - 64 + i], 0xff) << "written past the end";
}

constexpr Format f32 = Format::f32, bf16 = Format::bf16, e4m3 = Format::e4m3;
GemmChoice gemv() { return {GemmKernel::gemv, {}, 0}; }
GemmChoice stream(int tokens) { return {GemmKernel::stream, {0, tokens, 1}, 0}; }
GemmChoice tiles(int rows, int columns, int band) { return {GemmKernel::tiles, {rows, columns, 1}, band}; }
GemmChoice mma(int rows, int splits) { return {GemmKernel::mma, {rows, 128, 1}, 0, splits}; }

TEST(GemmEmulated, Any) {
  for (Scales s : {Scales::block, Scales::row, Scales::row_block}) run({37, 65, 200, {}, e4m3, e4m3, f32, s});
  run({70, 130, 96, {}, f32, bf16, bf16, Scales::none, Epilogue::gelu_tanh, true, true});
  run({5, 140, 64, {}, bf16, f32, f32, Scales::none, Epilogue::silu_mul, true});
  run({40, 128, 160, {}, e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul, false, false, 5});
}

TEST(GemmEmulated, Gemv) {
  for (int64_t m : {1, 2, 3, 4}) run({m, 130, 784, gemv(), e4m3, e4m3, f32, Scales::block, Epilogue::none, true});
  run({1, 256, 1024, gemv(), bf16, e4m3, bf16, Scales::block, Epilogue::none, false, true});
  run({2, 77, 528, gemv(), f32, e4m3, f32, Scales::row, Epilogue::gelu_erf});
  run({1, 256, 640, gemv(), bf16, e4m3, f32, Scales::block, Epilogue::silu_mul});
  run({3, 101, 264, gemv(), bf16, bf16, f32, Scales::none});
  run({4, 30, 132, gemv(), f32, f32, f32, Scales::none});
  run({8, 256, 272, gemv(), e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul, false, false, 6});
  run({7, 50, 272, gemv(), bf16, e4m3, f32, Scales::block, Epilogue::none, false, false, 20});
}

TEST(GemmEmulated, Stream) {
  for (int t : {8, 16, 32, 64}) run({t - 1, 200, 784, stream(t), e4m3, e4m3, f32, Scales::block, Epilogue::none, true});
  run({16, 384, 512, stream(16), e4m3, e4m3, bf16, Scales::block, Epilogue::none, false, true}, 7);
  run({5, 256, 640, stream(8), e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul});
  run({9, 130, 200, stream(8), bf16, bf16, f32, Scales::none, Epilogue::gelu_tanh, true});
  run({33, 120, 256, stream(32), e4m3, e4m3, f32, Scales::row});
  run({30, 256, 272, stream(8), e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul, false, false, 7});
  run({50, 140, 384, stream(16), e4m3, e4m3, f32, Scales::block, Epilogue::none, false, false, 40});
  run({1, 16, 16, stream(8), bf16, bf16, f32, Scales::none}, 100);  // fewer units than blocks
}

TEST(GemmEmulated, Tiles) {
  run({300, 200, 272, tiles(256, 128, 1), e4m3, e4m3, f32, Scales::block, Epilogue::none, true});
  run({150, 384, 256, tiles(128, 128, 2), e4m3, e4m3, bf16, Scales::block, Epilogue::none, false, true});
  run({140, 256, 144, tiles(128, 128, 4), e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul});
  run({150, 128, 144, tiles(128, 128, 2), e4m3, e4m3, f32, Scales::row, Epilogue::gelu_erf});
  run({300, 130, 144, tiles(128, 128, 2), e4m3, e4m3, f32, Scales::block, Epilogue::none, false, false, 4});
  run({300, 128, 144, tiles(256, 128, 1), e4m3, e4m3, bf16, Scales::block, Epilogue::silu_mul, false, false, 3});
  for (int n : {144, 192, 216}) run({150, 440, 200, tiles(128, n, 2), bf16, bf16, f32, Scales::none, Epilogue::gelu_tanh, true});
  run({150, 440, 200, tiles(128, 216, 1), bf16, bf16, bf16, Scales::none, Epilogue::none, true, true});
}

TEST(GemmEmulated, Mma) {
  for (int rows : {32, 128})
    for (int splits : {1, 3}) {
      run({rows - 3, 130, 784, mma(rows, splits), e4m3, e4m3, f32, Scales::block, Epilogue::none, true});
      run({rows + 9, 256, 400, mma(rows, splits), bf16, e4m3, bf16, Scales::block, Epilogue::none, false, true});
      run({rows, 150, 328, mma(rows, splits), bf16, bf16, f32, Scales::none, Epilogue::gelu_tanh, true});
      run({rows, 256, 272, mma(rows, splits), e4m3, e4m3, f32, Scales::block, Epilogue::silu_mul});
    }
  run({100, 140, 272, mma(32, 1), bf16, e4m3, f32, Scales::row});
  run({100, 256, 272, mma(32, 1), bf16, e4m3, f32, Scales::block, Epilogue::silu_mul, false, false, 5});
  run({200, 140, 144, mma(128, 1), e4m3, e4m3, f32, Scales::block, Epilogue::none, false, false, 3});
}

TEST(GemmEmulated, QuantizeRows) {
  std::mt19937_64 rng(std::random_device{}());
  for (Format f : {bf16, f32})
    for (int64_t k : {256, 200, 133}) {
      int64_t m = 21, stride = scale_stride(m);
      Random x(size_t(m * k), f, rng);
      std::vector<uint8_t> q(size_t(m * k) + 16);
      std::vector<float> scale(size_t(scale_groups(k) * stride));
      quantize_rows({x.bytes.data(), f, nullptr, m, 0}, k, q.data(), scale.data(), {});
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < k; ++j) {
          float largest = 0;
          for (int64_t c = j / 128 * 128; c < std::min(k, j / 128 * 128 + 128); ++c)
            largest = std::max(largest, std::abs(float(x.values[size_t(i * k + c)])));
          float s = std::max(largest, 1e-10f) / 448.0f;
          ASSERT_EQ(scale[size_t(j / 128 * stride + i)], s);
          ASSERT_EQ(q[size_t(i * k + j)], f32_to_e4m3(float(x.values[size_t(i * k + j)]) / s));
        }
    }
}

}  // namespace
}  // namespace vl8::cuda

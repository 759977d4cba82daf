// Matrix products of every instruction set, number format and shape class against a plain loop in double.
#include "ops/fake_quant.h"
#include "support.h"

namespace vl8 {
namespace {
using testing::OwnedLinear;
using testing::Random;
using testing::view;

struct Expected {
  std::vector<double> y, size;  // the value, and the sum of the magnitudes that went into it
};

float as_bf16(float x) {
  return bf16_to_f32(f32_to_bf16(x));
}

// act(x Wᵀ + b) + residual with inputs as the precision asks.
Expected plain(const OwnedLinear& w, std::vector<float> x, int64_t m, Precision p, Activation act,
               const std::vector<float>* residual) {
  const int64_t n = w.linear.weight.n, k = w.linear.weight.k;
  if (p == Precision::w8a8) fake_quantise_input(w.linear.weight, x.data(), m);
  if (p == Precision::bf16)
    for (float& v : x) v = as_bf16(v);
  Expected e{std::vector<double>(size_t(m * n)), std::vector<double>(size_t(m * n))};
  std::vector<float> row(static_cast<size_t>(k));
  int64_t part_end = 0;
  size_t part = 0;
  for (int64_t j = 0; j < n; ++j) {
    while (j >= part_end) part_end += w.linear.weight.parts[part++].rows;
    const DType type = w.linear.weight.parts[part - 1].dtype;
    weight_row_f32(w.linear.weight, j, row.data());
    if (p == Precision::bf16 && type <= DType::bf16)  // narrow numbers are exact in bf16
      for (float& v : row) v = as_bf16(v);
    for (int64_t i = 0; i < m; ++i) {
      double sum = w.bias.empty() ? 0 : w.bias[size_t(j)], size = std::fabs(sum);
      for (int64_t c = 0; c < k; ++c) {
        double t = double(x[size_t(i * k + c)]) * double(row[size_t(c)]);
        sum += t, size += std::fabs(t);
      }
      double y = act_f32(act, float(sum));
      if (residual) y += (*residual)[size_t(i * n + j)], size += std::fabs((*residual)[size_t(i * n + j)]);
      e.y[size_t(i * n + j)] = y, e.size[size_t(i * n + j)] = size;
    }
  }
  return e;
}

class ProductTest : public testing::IsaTest {
 protected:
  // `rounding`: relative error of a weight that a kernel may add (group scales folded into bf16).
  void compare(const OwnedLinear& w, int64_t m, Precision p, Activation act = Activation::none,
               bool with_residual = false, double rounding = 0) {
    const int64_t n = w.linear.weight.n, k = w.linear.weight.k;
    SCOPED_TRACE(fmt::format("seed {} m {} n {} k {} precision {} act {} residual {}", random.seed(), m, n, k,
                             int(p), int(act), with_residual));
    std::vector<float> x = random.normals(m * k), r = random.normals(m * n);
    auto op = ops(p);
    op->begin_step();
    Tensor xt = view(x, {m, k}), rt = view(r, {m, n});
    Tensor y = with_residual ? op->linear_residual(rt, xt, w.linear) : op->linear(xt, w.linear, act);
    Expected e = plain(w, x, m, p, act, with_residual ? &r : nullptr);
    for (int64_t i = 0; i < m * n; ++i) {
      // Float32 sums of k terms; the activation's own error is 2e-7 of its argument, the slope at most 1.13.
      double tolerance = (3e-6 + rounding) * e.size[size_t(i)] + 1e-30;
      ASSERT_NEAR(y.f32()[i], e.y[size_t(i)], tolerance) << "row " << i / n << " column " << i % n;
    }
  }
  // Only FP8 weights have scales: that is how files are.
  OwnedLinear weight(DType type, int64_t n, int64_t k, ScaleKind kind, int64_t br = 128, int64_t bc = 128) {
    OwnedLinear w;
    if (type != DType::e4m3 && type != DType::e5m2) kind = ScaleKind::none;
    w.add_part(random, type, n, k, kind, br, bc);
    return w;
  }
  Random random;
};

constexpr Precision kPrecisions[] = {Precision::f32, Precision::bf16, Precision::w8a16, Precision::w8a8};

TEST_P(ProductTest, EveryNumberFormatAndScale) {
  for (DType type : {DType::f32, DType::f16, DType::bf16, DType::e4m3, DType::e5m2})
    for (ScaleKind kind : {ScaleKind::none, ScaleKind::tensor, ScaleKind::channel, ScaleKind::block})
      for (Precision p : kPrecisions)
        for (int64_t m : {1, 3, 20}) compare(weight(type, 150, 300, kind), m, p);
}

// INT8 per channel and tensor; four bits in groups, whose scales are F32 or BF16 as in files.
TEST_P(ProductTest, NarrowIntegersAndFloats) {
  for (Precision p : kPrecisions)
    for (int64_t m : {1, 2, 5, 8, 20}) {
      for (ScaleKind kind : {ScaleKind::channel, ScaleKind::tensor}) {
        OwnedLinear w;
        w.add_part(random, DType::i8, 1 + random.below(150), 1 + random.below(400), kind);
        compare(w, m, p);
      }
      for (DType type : {DType::i4, DType::e2m1})
        for (int64_t group : {32, 64, 128})
          for (bool bf16_scales : {false, true}) {
            OwnedLinear w;
            w.add_part(random, type, 33 + random.below(100), group * (1 + random.below(5)), ScaleKind::group, 1, group);
            if (bf16_scales) w.scales_to_bf16();
            compare(w, m, p, Activation::none, false, p == Precision::bf16 ? 0x1p-8 : 0);
          }
    }
}

TEST_P(ProductTest, EveryTokenCount) {
  for (int64_t m = 1; m <= 70; m += slow() ? 3 : 1)
    for (Precision p : {Precision::f32, Precision::bf16}) {
      compare(weight(DType::e4m3, 49 + random.below(60), 130 + random.below(300), ScaleKind::block), m, p);
      compare(weight(DType::bf16, 1 + random.below(100), 1 + random.below(300), ScaleKind::none), m, p);
    }
}

TEST_P(ProductTest, RaggedShapes) {
  for (int64_t k : {1, 2, 15, 16, 31, 33, 63, 64, 65, 127, 129, 255, 257, 385, 640, 1001})
    for (int64_t n : {1, 7, 16, 17, 129, 257})
      for (int64_t m : {1, 2, 8, 9, 33})
        compare(weight(k % 2 ? DType::e4m3 : DType::bf16, n, k, ScaleKind::block), m,
                n % 2 ? Precision::bf16 : Precision::f32);
}

TEST_P(ProductTest, BlocksOfOtherShapes) {
  const int64_t shapes[][2] = {{64, 64},  {1, 128},   {128, 1},  {32, 192}, {16, 32},
                               {100, 40}, {256, 256}, {128, 64}, {7, 192}};
  for (auto [br, bc] : shapes)
    for (int64_t m : {1, 6, 21})
      for (Precision p : {Precision::f32, Precision::bf16})
        compare(weight(DType::e4m3, 200, 400, ScaleKind::block, br, bc), m, p);
}

TEST_P(ProductTest, BiasActivationResidual) {
  for (Precision p : {Precision::f32, Precision::bf16})
    for (int64_t m : {1, 5, 40}) {
      OwnedLinear w = weight(DType::bf16, 83, 95, ScaleKind::none);
      w.add_bias(random);
      compare(w, m, p, Activation::gelu_tanh);
      compare(w, m, p, Activation::gelu_erf);
      compare(w, m, p, Activation::none, true);
    }
}

TEST_P(ProductTest, PartsOfDifferentFormats) {
  OwnedLinear w;
  w.add_part(random, DType::e4m3, 100, 256, ScaleKind::block);
  w.add_part(random, DType::bf16, 31, 256, ScaleKind::none);
  w.add_part(random, DType::e4m3, 65, 256, ScaleKind::channel);
  w.add_part(random, DType::f16, 20, 256, ScaleKind::none);
  w.add_bias(random);
  for (Precision p : kPrecisions)
    for (int64_t m : {1, 4, 30}) compare(w, m, p);
}

TEST_P(ProductTest, StaticInputScale) {
  OwnedLinear w = weight(DType::e4m3, 40, 200, ScaleKind::tensor);
  w.linear.weight.input_scale = 0.01f;
  for (int64_t m : {1, 12}) compare(w, m, Precision::w8a8);
}

TEST_P(ProductTest, ManyTokensInSeveralTasks) {
  for (int64_t m : {530, 769, 1000}) {
    if (slow() && m > 530) break;  // in software
    for (Precision p : {Precision::f32, Precision::bf16})
      compare(weight(DType::e4m3, slow() ? 40 : 300, 600, ScaleKind::block), m, p);
  }
}

// silu(gate) * up in one product, of all formats, ragged halves and token counts.
TEST_P(ProductTest, GatedHalves) {
  for (DType type : {DType::e4m3, DType::bf16, DType::f32})
    for (ScaleKind kind : {ScaleKind::block, ScaleKind::channel, ScaleKind::tensor})
      for (auto [half, k] : {std::pair<int64_t, int64_t>{16, 64}, {83, 300}, {150, 520}})
        for (int64_t m : {1, 9, 33, 70})
          for (Precision p : {Precision::f32, Precision::bf16}) {
            if (type == DType::f32 && m > 9) continue;
            OwnedLinear w;
            const ScaleKind scale = type == DType::e4m3 ? kind : ScaleKind::none;
            w.add_part(random, type, half, k, scale), w.add_part(random, type, half, k, scale);
            SCOPED_TRACE(fmt::format("seed {} m {} half {} k {} type {} precision {}", random.seed(), m, half, k,
                                     dtype_name(type), int(p)));
            std::vector<float> x = random.normals(m * k);
            auto op = ops(p);
            op->begin_step();
            Tensor y = op->gated_linear(view(x, {m, k}), w.linear);
            ASSERT_EQ(y.shape, (Shape{m, half}));
            Expected e = plain(w, x, m, p, Activation::none, nullptr);
            for (int64_t i = 0; i < m; ++i)
              for (int64_t j = 0; j < half; ++j) {
                const size_t g = size_t(i * 2 * half + j), u = g + size_t(half);
                const double share = 1 / (1 + std::exp(-e.y[g])), want = e.y[g] * share * e.y[u];
                // The slope of silu is at most 1.1.
                const double tolerance =
                    4e-6 * (1.1 * e.size[g] * std::fabs(e.y[u]) + std::fabs(e.y[g] * share) * e.size[u]) + 1e-30;
                ASSERT_NEAR(y.f32()[i * half + j], want, tolerance) << "row " << i << " column " << j;
              }
          }
}

// Exact precisions sum along K in one chain of fused multiply-adds: the same bits on every set that has them, for any
// batch; and bf16 with batch_invariant the same bits for any batch.
TEST_P(ProductTest, OneOrderOfSummation) {
  OwnedLinear w = weight(DType::e4m3, 70, 700, ScaleKind::block);
  std::vector<float> x = random.normals(40 * 700), row(700);
  auto run = [&](Ops& op, int64_t m) {
    op.begin_step();
    std::vector<float> part(x.begin(), x.begin() + m * 700);
    return op.download(op.linear(view(part, {m, 700}), w.linear));
  };
  auto exact = ops(Precision::f32);
  auto rounded = cpu::make_ops(Precision::bf16, 2, GetParam(), true);
  ASSERT_TRUE(exact->batch_invariant() && rounded->batch_invariant());
  ASSERT_FALSE(ops(Precision::bf16)->batch_invariant());
  const std::vector<float> all = run(*exact, 40), all_rounded = run(*rounded, 40);
  for (int64_t m : {1, 2, 7, 17}) {
    const std::vector<float> y = run(*exact, m), z = run(*rounded, m);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], all[i]) << random.seed();
    for (size_t i = 0; i < z.size(); ++i) ASSERT_EQ(z[i], all_rounded[i]) << random.seed();
  }
  if (GetParam().name == "scalar") return;  // has no fused multiply-add
  for (int64_t j = 0; j < 70; ++j) {
    weight_row_f32(w.linear.weight, j, row.data());
    for (int64_t i = 0; i < 40; ++i) {
      float sum = 0;
      for (int64_t c = 0; c < 700; ++c) sum = std::fmaf(row[size_t(c)], x[size_t(i * 700 + c)], sum);
      ASSERT_EQ(all[size_t(i * 70 + j)], sum) << random.seed() << " row " << i << " column " << j;
    }
  }
}

// All 256 codes, alone in a row: the decoder must be exact, subnormals, zeros and NaN included.
TEST_P(ProductTest, EveryFp8Code) {
  for (DType type : {DType::e4m3, DType::e5m2})
    for (int64_t m : {1, 17})
      for (Precision p : {Precision::f32, Precision::bf16}) {
        OwnedLinear w = weight(type, 256, 64, ScaleKind::none);
        std::fill(w.data[0].begin(), w.data[0].end(), uint8_t(0));
        for (size_t q = 0; q < 256; ++q) w.data[0][q * 64 + q % 64] = uint8_t(q);
        std::vector<float> x(size_t(m * 64), 1.0f);
        auto op = ops(p);
        op->begin_step();
        Tensor y = op->linear(view(x, {m, 64}), w.linear);
        for (int64_t i = 0; i < m; ++i)
          for (int q = 0; q < 256; ++q) {
            float want = type == DType::e4m3 ? e4m3_to_f32(uint8_t(q)) : e5m2_to_f32(uint8_t(q)),
                  got = y.f32()[i * 256 + q];
            if (std::isnan(want))
              EXPECT_TRUE(std::isnan(got)) << "code " << q;
            else
              EXPECT_EQ(got, want) << "code " << q;
          }
      }
}

// A token's product must not depend on the other tokens of the batch: bit-equal among 1..8 tokens and among
// more.
TEST_P(ProductTest, TokensDoNotSeeEachOther) {
  for (Precision p : {Precision::f32, Precision::bf16}) {
    OwnedLinear w = weight(DType::e4m3, 200, 384, ScaleKind::block);
    std::vector<float> x = random.normals(60 * 384);
    auto op = ops(p);
    auto run = [&](int64_t first, int64_t m) {
      op->begin_step();
      std::vector<float> part(x.begin() + first * 384, x.begin() + (first + m) * 384);
      return op->download(op->linear(view(part, {m, 384}), w.linear));
    };
    const std::vector<float> big = run(0, 60);
    for (auto [first, m] : {std::pair{0, 9}, {3, 17}, {20, 33}, {11, 48}}) {
      std::vector<float> y = run(first, m);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], big[size_t(first) * 200 + i]) << random.seed();
    }
    const std::vector<float> small = run(0, 8);
    if (GetParam().name == "amx_emulated") continue;  // AMX turns to tiles above two tokens
    for (int64_t m : {1, 2, 3, 5, 7})
      for (int64_t first = 0; first + m <= 8; ++first) {
        std::vector<float> y = run(first, m);
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(y[i], small[size_t(first) * 200 + i]) << random.seed();
      }
  }
}

VL8_EACH_ISA(ProductTest);

}  // namespace
}  // namespace vl8

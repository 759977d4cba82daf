// GPTQ against its definition: the factor inverts the damped second moment, and with inputs that go together the layer's
// output error is well below that of rounding to nearest.
#include "quant/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace vl8 {
namespace {

std::vector<float> correlated_inputs(int64_t tokens, int64_t k, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  const int64_t sources = k / 4;
  std::vector<float> mix(size_t(sources * k)), x(size_t(tokens * k));
  for (float& m : mix) m = normal(rng);
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<float> s(static_cast<size_t>(sources));
    for (float& v : s) v = normal(rng);
    for (int64_t c = 0; c < k; ++c) {
      float sum = 0.2f * normal(rng);
      for (int64_t i = 0; i < sources; ++i) sum += s[size_t(i)] * mix[size_t(i * k + c)];
      x[size_t(t * k + c)] = sum * (c % 7 ? 1.0f : 4.0f);
    }
  }
  return x;
}

std::vector<float> second_moment(const std::vector<float>& x, int64_t tokens, int64_t k) {
  std::vector<float> h(size_t(k * k));
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < tokens; ++t) sum += double(x[size_t(t * k + i)]) * double(x[size_t(t * k + j)]);
      h[size_t(i * k + j)] = float(sum);
    }
  return h;
}

TEST(Gptq, FactorInvertsTheDampedSecondMoment) {
  std::mt19937 rng(std::random_device{}());
  ThreadPool pool(2);
  for (int64_t k : {1, 5, 64, 65, 150}) {
    const std::vector<float> h = second_moment(correlated_inputs(2 * k + 3, k, rng), 2 * k + 3, k);
    const GptqFactor f = gptq_factor(h, k, pool);
    double mean = 0;
    for (int64_t i = 0; i < k; ++i) mean += double(h[size_t(i * k + i)]) / double(k);
    // U (H + damping) Uᵀ = 1
    for (int64_t r = 0; r < k; ++r)
      for (int64_t c = 0; c < k; ++c) {
        if (c < r) {
          ASSERT_EQ(f.u[size_t(r * k + c)], 0);
        }
        double sum = 0;
        for (int64_t i = r; i < k; ++i)
          for (int64_t j = c; j < k; ++j)
            sum += double(f.u[size_t(r * k + i)]) * (double(h[size_t(i * k + j)]) + (i == j ? 0.01 * mean : 0)) * double(f.u[size_t(c * k + j)]);
        ASSERT_NEAR(sum, r == c ? 1 : 0, 2e-3) << "k " << k << " at " << r << ", " << c;
      }
  }
}

double output_error(const std::vector<float>& x, int64_t tokens, const float* w, const std::vector<float>& q, int64_t rows, int64_t k) {
  double error = 0;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t r = 0; r < rows; ++r) {
      double d = 0;
      for (int64_t c = 0; c < k; ++c) d += double(x[size_t(t * k + c)]) * (double(w[r * k + c]) - double(q[size_t(r * k + c)]));
      error += d * d;
    }
  return error;
}

TEST(Gptq, OutputErrorIsBelowRounding) {
  std::mt19937 rng(std::random_device{}());
  ThreadPool pool(2);
  const int64_t k = 192, rows = 40, tokens = 300;
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> w(size_t(rows * k));
  for (float& v : w) v = normal(rng);
  const auto x = correlated_inputs(tokens, k, rng);
  const GptqFactor factor = gptq_factor(second_moment(x, tokens, k), k, pool);
  for (Coding coding : {Coding::i4_group, Coding::fp4_group}) {
    const Format format{coding, 64};
    const MatrixJob job{.rows = rows, .k = k, .module = "m", .format = format};
    EncodedMatrix made;
    gptq_encode(job, w.data(), factor, ScaleRule::mse, pool, made);
    std::vector<float> q(w.size()), nearest(w.size());
    decode_rows(format, made.codes.data(), made.scales.data(), 0, rows, k, q.data());
    EncodedMatrix plain{.codes = std::vector<uint8_t>(w.size() / 2), .scales = std::vector<float>(size_t(rows * k / 64))};
    ASSERT_TRUE(encode_strip({format, w.data(), rows, k, ScaleRule::mse, nullptr, 0, plain.codes.data(), plain.scales.data()}));
    decode_rows(format, plain.codes.data(), plain.scales.data(), 0, rows, k, nearest.data());
    EXPECT_LT(output_error(x, tokens, w.data(), q, rows, k), 0.6 * output_error(x, tokens, w.data(), nearest, rows, k)) << format_name(format);
  }
}

TEST(Gptq, NoTokensIsRounding) {
  ThreadPool pool(1);
  const int64_t k = 64;
  const GptqFactor f = gptq_factor(std::vector<float>(size_t(k * k)), k, pool);
  std::vector<float> w(size_t(2 * k));
  for (size_t i = 0; i < w.size(); ++i) w[i] = std::sin(float(i));
  const Format format{Coding::i4_group, 32};
  EncodedMatrix made;
  gptq_encode({.rows = 2, .k = k, .module = "m", .format = format}, w.data(), f, ScaleRule::max, pool, made);
  std::vector<uint8_t> codes(static_cast<size_t>(k));
  std::vector<float> scales(4);
  ASSERT_TRUE(encode_strip({format, w.data(), 2, k, ScaleRule::max, nullptr, 0, codes.data(), scales.data()}));
  EXPECT_EQ(made.codes, codes);
  EXPECT_EQ(made.scales, scales);
}

}  // namespace
}  // namespace vl8

#include "quant/fp8_block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace vl8 {
namespace {

std::vector<std::byte> as_type(const std::vector<float>& x, DType dtype) {
  std::vector<std::byte> out(x.size() * dtype_bytes(dtype));
  for (size_t i = 0; i < x.size(); ++i) {
    uint16_t half = dtype == DType::bf16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
    if (dtype == DType::f32)
      std::memcpy(&out[i * 4], &x[i], 4);
    else
      std::memcpy(&out[i * 2], &half, 2);
  }
  return out;
}

// The reference sees the values as stored; the strip version sees the stored bytes.
void expect_equal_bits(const std::vector<float>& values, DType dtype, int64_t rows, int64_t cols,
                       int64_t block) {
  const std::vector<std::byte> in = as_type(values, dtype);
  std::vector<float> exact(values.size());
  for (size_t i = 0; i < exact.size(); ++i) exact[i] = load_f32(in.data(), dtype, i);
  const int64_t strips = (rows + block - 1) / block, columns = (cols + block - 1) / block;
  std::vector<uint8_t> q(values.size()), expected(values.size());
  std::vector<float> s(size_t(strips * columns)), expected_s(s.size());
  ASSERT_TRUE(quantize_reference(exact.data(), rows, cols, block, expected.data(), expected_s.data()));
  double error = 0, square = 0;
  for (int64_t i = 0; i < strips; ++i) {
    const int64_t row = i * block, count = std::min(block, rows - row);
    auto e = quantize_strip(in.data() + size_t(row * cols) * dtype_bytes(dtype), dtype, count, cols, block,
                            q.data() + row * cols, s.data() + i * columns);
    ASSERT_TRUE(e);
    error += e->error, square += e->square;
  }
  ASSERT_EQ(q, expected) << rows << " x " << cols;
  ASSERT_EQ(std::memcmp(s.data(), expected_s.data(), s.size() * 4), 0) << rows << " x " << cols;
  double true_error = 0, true_square = 0;
  for (int64_t i = 0; i < rows * cols; ++i) {
    const float scale = s[size_t(i / cols / block * columns + i % cols / block)];
    true_error += std::pow(exact[size_t(i)] - e4m3_to_f32(q[size_t(i)]) * scale, 2);
    true_square += double(exact[size_t(i)]) * exact[size_t(i)];
  }
  EXPECT_NEAR(error, true_error, 1e-3 * true_error + 1e-12 * true_square + 1e-60);
  EXPECT_NEAR(square, true_square, 1e-4 * true_square + 1e-30);
}

TEST(Fp8Block, EqualsTheReferenceBitForBit) {
  std::mt19937_64 rng(std::random_device{}());
  for (DType dtype : {DType::bf16, DType::f16, DType::f32})
    for (int64_t rows : {1, 3, 127, 128, 129, 300})
      for (int64_t cols : {1, 17, 128, 200, 385}) {
        std::vector<float> x(size_t(rows * cols));
        std::normal_distribution<float> normal(0, 0.02f);
        for (float& v : x) v = normal(rng);
        expect_equal_bits(x, dtype, rows, cols, 128);
      }
}

// Every magnitude from subnormal to large, exact ties, zeros of both signs, blocks of zeros and of one value.
TEST(Fp8Block, AwkwardValues) {
  std::mt19937_64 rng(std::random_device{}());
  for (int round = 0; round < 30; ++round) {
    std::vector<float> x(128 * 256);
    for (float& v : x) {
      switch (rng() % 6) {
        case 0:
          v = std::ldexp(float(int(rng() % 33) - 16), int(rng() % 40) - 30);
          break;
        case 1:
          v = -0.0f;
          break;
        case 2:
          v = 448 * std::ldexp(1.0f, -int(rng() % 20)) * (rng() % 2 ? 1.0f : -1.0f);
          break;
        case 3:
          v = std::ldexp(float(1 + rng() % 15), -10);
          break;
        default:
          v = std::bit_cast<float>(uint32_t(rng()) & 0xbfffffffu);
          break;  // below 2
      }
    }
    if (round % 3 == 0) x[0] = 448;  // a scale of exactly 1: every tie shows
    expect_equal_bits(x, DType::f32, 128, 256, 128);
  }
  expect_equal_bits(std::vector<float>(128 * 130, 0.0f), DType::bf16, 128, 130, 128);
  expect_equal_bits(std::vector<float>(20, 3e-44f), DType::f32, 4, 5, 128);
  expect_equal_bits(std::vector<float>(20, 1.4e-45f), DType::f32, 4, 5, 128);
  expect_equal_bits(std::vector<float>(20, std::numeric_limits<float>::max()), DType::f32, 4, 5, 128);
}

// Worked by hand from spec 8.1: with a largest value of 448 the scale is 1 and codes are those of the table.
TEST(Fp8Block, CodesOfTheSpec) {
  std::vector<float> x{448, 1.0625f, 1.1875f,        0.3f,     -0.3f,       17,
                       19,  240,     7.5f * 0x1p-9f, 0x1p-10f, 3 * 0x1p-10f};
  std::vector<uint8_t> q(x.size());
  float scale = 0;
  ASSERT_TRUE(quantize_strip(x.data(), DType::f32, 1, int64_t(x.size()), 128, q.data(), &scale));
  EXPECT_EQ(scale, 1);
  EXPECT_EQ(q, (std::vector<uint8_t>{0x7e, 0x38, 0x3a, 0x2a, 0xaa, 0x58, 0x5a, 0x77, 0x08, 0x00, 0x02}));
}

TEST(Fp8Block, ZeroBlocksAndNonFiniteValues) {
  std::vector<float> x(256, 0.0f);
  x[200] = -2;
  std::vector<uint8_t> q(256);
  float scale[2] = {};
  ASSERT_TRUE(quantize_strip(x.data(), DType::f32, 1, 256, 128, q.data(), scale));
  EXPECT_EQ(scale[0], 1);
  EXPECT_EQ(scale[1], 2.0f / 448);
  EXPECT_EQ(q[0], 0);
  EXPECT_EQ(q[200], 0xfe);
  for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    x[255] = bad;
    EXPECT_FALSE(quantize_strip(x.data(), DType::f32, 1, 256, 128, q.data(), scale));
    EXPECT_FALSE(quantize_reference(x.data(), 1, 256, 128, q.data(), scale));
    std::vector<std::byte> half = as_type(x, DType::bf16);
    EXPECT_FALSE(quantize_strip(half.data(), DType::bf16, 1, 256, 128, q.data(), scale));
  }
}

}  // namespace
}  // namespace vl8

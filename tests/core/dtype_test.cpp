// The scalar conversions against their definition: every code decodes to the value of its bits, encoding picks the
// nearest code with ties to even. The table of spec section 8.1 is checked as it stands.
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <random>

namespace vl8 {
namespace {

// The nearest of all finite codes, ties to the even code, by brute force.
template <typename Decode>
uint8_t nearest_code(float x, Decode decode, int last_finite) {
  int best = 0;
  double best_distance = 1e300;
  for (int c = 0; c <= last_finite; ++c) {
    double d = std::abs(double(decode(uint8_t(c))) - std::abs(double(x)));
    if (d < best_distance || (d == best_distance && c % 2 == 0)) best = c, best_distance = d;
  }
  return uint8_t(best | (std::signbit(x) ? 0x80 : 0));
}

TEST(DType, E4m3Table) {
  struct Row {
    float x;
    uint8_t code;
    float value;
  };
  for (Row r : {Row{1.0625f, 0x38, 1.0f}, Row{1.1875f, 0x3A, 1.25f}, Row{0.3f, 0x2A, 0.3125f}, Row{-0.3f, 0xAA, -0.3125f},
                Row{17, 0x58, 16}, Row{7.5f * 0x1p-9f, 0x08, 0x1p-6f}, Row{464, 0x7E, 448}, Row{465, 0x7E, 448},
                Row{0x1p-10f, 0x00, 0}, Row{3 * 0x1p-10f, 0x02, 0x1p-8f}, Row{19, 0x5A, 20}, Row{240, 0x77, 240}}) {
    EXPECT_EQ(f32_to_e4m3(r.x), r.code) << r.x;
    EXPECT_EQ(e4m3_to_f32(r.code), r.value) << r.x;
  }
  EXPECT_TRUE(std::isnan(e4m3_to_f32(0x7f)) && std::isnan(e4m3_to_f32(0xff)));
}

TEST(DType, Fp8EncodeIsNearestEven) {
  std::mt19937 rng(7);
  std::uniform_real_distribution<float> exponent(-22, 17), mantissa(1, 2);
  for (int i = 0; i < 20000; ++i) {
    float x = std::ldexp(mantissa(rng), int(exponent(rng))) * (i % 2 ? -1.0f : 1.0f);
    if (i % 5 == 0) x = float(int(x * 1024)) / 1024;  // many exact ties
    EXPECT_EQ(f32_to_e4m3(x), nearest_code(x, e4m3_to_f32, 0x7e)) << x;
    EXPECT_EQ(f32_to_e5m2(x), nearest_code(x, e5m2_to_f32, 0x7b)) << x;
  }
  EXPECT_EQ(f32_to_e4m3(1e30f), 0x7e);
  EXPECT_EQ(f32_to_e5m2(-1e30f), 0xfb);
  EXPECT_TRUE(std::isnan(e4m3_to_f32(f32_to_e4m3(std::nanf("")))));
  EXPECT_TRUE(std::isnan(e5m2_to_f32(f32_to_e5m2(std::nanf("")))));
}

TEST(DType, RoundTripOfEveryCode) {
  for (int c = 0; c < 256; ++c) {
    if (!std::isnan(e4m3_to_f32(uint8_t(c)))) { EXPECT_EQ(f32_to_e4m3(e4m3_to_f32(uint8_t(c))), c); }
    if (std::isfinite(e5m2_to_f32(uint8_t(c)))) { EXPECT_EQ(f32_to_e5m2(e5m2_to_f32(uint8_t(c))), c); }
  }
  for (int c = 0; c < 65536; ++c) {
    float h = f16_to_f32(uint16_t(c)), b = bf16_to_f32(uint16_t(c));
    if (!std::isnan(h)) { EXPECT_EQ(f32_to_f16(h), c); }
    if (!std::isnan(b)) { EXPECT_EQ(f32_to_bf16(b), c); }
  }
}

TEST(DType, F16TiesAndLimits) {
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);       // tie to even zero
  EXPECT_EQ(f32_to_f16(0x1.8p-24f), 2);     // tie to even
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
}

TEST(DType, NamesRoundTrip) {
  for (int i = 0; i <= int(DType::boolean); ++i) EXPECT_EQ(dtype_from_name(dtype_name(DType(i))), DType(i));
  EXPECT_FALSE(dtype_from_name("F7"));
}

}  // namespace
}  // namespace vl8

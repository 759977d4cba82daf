#include "io/random_values.h"

#include <array>
#include <cmath>

#include "core/dtype.h"
#include "core/error.h"

namespace vl8 {
namespace {

constexpr int kNormals = 4096;

uint64_t mix(
    uint64_t x) {  // a bijection whose outputs pass the usual tests of randomness (splitmix64's finaliser)
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

double normal_quantile(double p) {  // by bisection: only for tables
  double low = -10, high = 10;
  for (int i = 0; i < 60; ++i) {
    double z = (low + high) / 2;
    (0.5 * std::erfc(-z / std::sqrt(2.0)) < p ? low : high) = z;
  }
  return (low + high) / 2;
}

struct Tables {
  std::array<float, kNormals> normal;
  std::array<uint8_t, 256> e4m3;
  Tables() {
    for (int i = 0; i < kNormals; ++i) normal[size_t(i)] = float(normal_quantile((i + 0.5) / kNormals));
    for (int i = 0; i < 256; ++i)
      e4m3[size_t(i)] = f32_to_e4m3(float(normal_quantile((i + 0.5) / 256)) * RandomValues::kE4m3Deviation);
  }
};
const Tables& tables() {
  static const Tables t;
  return t;
}

}  // namespace

RandomValues::RandomValues(uint64_t seed, std::string_view name) : key_(mix(seed + 0x9e3779b97f4a7c15u)) {
  for (char c : name) key_ = mix(key_ ^ static_cast<unsigned char>(c)) + 0x9e3779b97f4a7c15u;
}

uint64_t RandomValues::bits(int64_t i) const {
  return mix(key_ + uint64_t(i) * 0x9e3779b97f4a7c15u);
}

void RandomValues::e4m3(uint8_t* out, int64_t begin, int64_t count) const {
  check(begin % 8 == 0, "random values begin at {}", begin);
  const auto& table = tables().e4m3;
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t r = bits((begin + i) / 8);
    for (int64_t j = 0; j < 8 && i + j < count; ++j, r >>= 8) out[i + j] = table[r & 255];
  }
}

void RandomValues::bf16(uint16_t* out, int64_t begin, int64_t count, float mean, float deviation) const {
  check(begin % 8 == 0, "random values begin at {}", begin);
  const auto& table = tables().normal;
  for (int64_t i = 0; i < count; i += 4) {
    uint64_t r = bits((begin + i) / 4);
    for (int64_t j = 0; j < 4 && i + j < count; ++j, r >>= 16)
      out[i + j] = f32_to_bf16(mean + deviation * table[r % kNormals]);
  }
}

void RandomValues::bytes(uint8_t* out, int64_t begin, int64_t count) const {
  check(begin % 8 == 0, "random bytes begin at {}", begin);
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t r = bits((begin + i) / 8);
    for (int64_t j = 0; j < 8 && i + j < count; ++j, r >>= 8) out[i + j] = uint8_t(r);
  }
}

float RandomValues::normal(int64_t i) const {
  return tables().normal[bits(i) % kNormals];
}
float RandomValues::uniform(int64_t i) const {
  return float(bits(i) >> 40) * 0x1p-24f;
}

}  // namespace vl8

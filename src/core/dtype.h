// Number formats: sizes, names as safetensors spells them, and exact scalar conversions (the reference for
// every kernel). Rounding is to nearest, ties to even. See MODEL.md "Number formats".
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace vl8 {

// i4 and e2m1 are two to a byte, the element of even index in the low nibble: i4 as value + 8 (-8..7), e2m1 as sign,
// two bits of exponent and one of mantissa. Files hold them inside I32 or U8 tensors, so no file names these types.
enum class DType : uint8_t { f32, f16, bf16, e4m3, e5m2, e8m0, f64, i8, u8, i16, u16, i32, u32, i64, u64, boolean, i4, e2m1 };

size_t dtype_bytes(DType type);  // of one element; Error(internal) for the four-bit types
int64_t dtype_bits(DType type);
std::string_view dtype_name(DType type);                        // "BF16", "F8_E4M3", ...
std::optional<DType> dtype_from_name(std::string_view name);    // nothing for a name we do not know

inline float bf16_to_f32(uint16_t h) { return std::bit_cast<float>(uint32_t(h) << 16); }

inline uint16_t f32_to_bf16(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return uint16_t((u >> 16) | 0x40);  // NaN stays NaN, made quiet
  return uint16_t((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

inline float f16_to_f32(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, e = (h >> 10) & 31, m = h & 0x3ff;
  if (e == 31) return std::bit_cast<float>(sign | 0x7f800000u | (m << 13));
  if (e == 0) {
    float v = float(m) * 0x1p-24f;
    return sign ? -v : v;
  }
  return std::bit_cast<float>(sign | ((e + 112) << 23) | (m << 13));
}

inline uint16_t f32_to_f16(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 16) & 0x8000, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return uint16_t(sign | 0x7e00);
  if (a >= 0x477ff000u) return uint16_t(sign | 0x7c00);  // 65520 and above round to infinity
  if (a < 0x38800000u) {                                  // subnormal in f16: let float addition round
    float v = std::bit_cast<float>(a) + 0.5f;             // ulp of 0.5 is 2^-24, the f16 subnormal step
    return uint16_t(sign | (std::bit_cast<uint32_t>(v) - 0x3f000000u));
  }
  a += 0xfffu + ((a >> 13) & 1);
  return uint16_t(sign | ((a - 0x38000000u) >> 13));
}

// E4M3FN: no infinity, NaN is S.1111.111, largest 448, subnormals are multiples of 2^-9.
inline float e4m3_to_f32(uint8_t q) {
  int e = (q >> 3) & 15, m = q & 7;
  if ((q & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fc00000u | (uint32_t(q & 0x80) << 24));
  float v = e ? std::ldexp(1.0f + float(m) / 8.0f, e - 7) : float(m) * 0x1p-9f;
  return q & 0x80 ? -v : v;
}

// Saturating: finite values above 448 become 448, NaN stays NaN.
inline uint8_t f32_to_e4m3(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 24) & 0x80, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return uint8_t(sign | 0x7f);
  if (a >= 0x43e00000u) return uint8_t(sign | 0x7e);  // >= 448
  if (a < 0x3c800000u) {                              // < 2^-6: subnormal, step 2^-9
    float v = std::bit_cast<float>(a) + 0x1p14f;      // ulp of 2^14 is 2^-9
    return uint8_t(sign | (std::bit_cast<uint32_t>(v) - 0x46800000u));
  }
  a += 0x7ffffu + ((a >> 20) & 1);
  return uint8_t(sign | ((a - 0x3c000000u) >> 20));
}

// E5M2: f16 with two mantissa bits; 0x7c is infinity.
inline float e5m2_to_f32(uint8_t q) { return f16_to_f32(uint16_t(q) << 8); }

// Saturating: finite values above 57344 become 57344; infinity saturates too, NaN stays NaN.
inline uint8_t f32_to_e5m2(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 24) & 0x80, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return uint8_t(sign | 0x7f);
  if (a >= 0x47600000u) return uint8_t(sign | 0x7b);  // >= 57344
  if (a < 0x38800000u) {                              // < 2^-14: subnormal, step 2^-16
    float v = std::bit_cast<float>(a) + 0x1p7f;       // ulp of 2^7 is 2^-16
    return uint8_t(sign | (std::bit_cast<uint32_t>(v) - 0x43000000u));
  }
  a += 0xfffffu + ((a >> 21) & 1);
  return uint8_t(sign | ((a - 0x38000000u) >> 21));
}

// E2M1 (OCP MX 1.0, section 5.3.3): 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. Takes the low four bits.
inline float e2m1_to_f32(uint8_t q) {
  constexpr float kValues[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return q & 8 ? -kValues[q & 7] : kValues[q & 7];
}

// Saturating at 6, ties to the even code; NaN is not expected and becomes 0.
inline uint8_t f32_to_e2m1(float x) {
  const float a = std::fabs(x);
  // The middle between codes c and c + 1 goes to the even one.
  uint8_t code = uint8_t((a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.0f));
  return uint8_t(code | (std::signbit(x) ? 8 : 0));
}

inline float e8m0_to_f32(uint8_t q) { return q == 255 ? std::nanf("") : std::ldexp(1.0f, int(q) - 127); }

// One element of any floating type, or of the integer types that weights have (i8, i4), as f32. `index` counts elements.
float load_f32(const void* data, DType type, size_t index);

}  // namespace vl8

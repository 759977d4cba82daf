// Vectors of 16 floats in plain C++ (GCC vector types), for any x86-64. The meaning of every name here holds
// for the other vec_*.inl too: F is a vector of kWidth floats, M the result of a comparison, G a group of 16
// lanes.
// `_part` functions touch only the first n lanes of memory (n may be more than kWidth); others read as zero.
// Hides a value from the optimiser (peak measurements).
#define VL8_OPAQUE(x) __asm__ volatile("" : "+m"(x))
#define VL8_INLINE static inline __attribute__((always_inline))

namespace vl8::cpu {
namespace {

constexpr bool kWide = false;  // 32 vector registers of 16 floats
constexpr int kWidth = 16;
typedef float F __attribute__((vector_size(64)));
typedef int32_t M __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));

VL8_INLINE F zero() {
  return F{};
}
VL8_INLINE F all(float x) {
  return F{} + x;
}
VL8_INLINE F load(const float* p) {
  F x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
VL8_INLINE F load_part(const float* p, int64_t n) {
  F x = {};
  for (int i = 0; i < 16 && i < n; ++i) x[i] = p[i];
  return x;
}
VL8_INLINE void store(float* p, F x) {
  __builtin_memcpy(p, &x, sizeof x);
}
VL8_INLINE void store_part(float* p, F x, int64_t n) {
  for (int i = 0; i < 16 && i < n; ++i) p[i] = x[i];
}
VL8_INLINE F add(F a, F b) {
  return a + b;
}
VL8_INLINE F sub(F a, F b) {
  return a - b;
}
VL8_INLINE F mul(F a, F b) {
  return a * b;
}
VL8_INLINE F div(F a, F b) {
  return a / b;
}
VL8_INLINE F fma(F a, F b, F c) {
  return a * b + c;
}  // not fused: the baseline has no such instruction
VL8_INLINE M less(F a, F b) {
  return a < b;
}
VL8_INLINE F choose(M m, F yes, F no) {
  return m ? yes : no;
}
VL8_INLINE F max(F a, F b) {
  return a > b ? a : b;
}
VL8_INLINE F min(F a, F b) {
  return a < b ? a : b;
}
VL8_INLINE F square_root(F a) {
  for (int i = 0; i < 16; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
VL8_INLINE float sum(F a) {
  float s[8];
  for (int i = 0; i < 8; ++i) s[i] = a[i] + a[i + 8];
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}
VL8_INLINE F copy_sign(F a, F sign) {
  return F((U(a) & 0x7fffffffu) | (U(sign) & 0x80000000u));
}
VL8_INLINE F magnitude(F a) {
  return F(U(a) & 0x7fffffffu);
}
// a * 2^n for integral n in -252..127, through two factors so that tiny results do not get a false exponent.
VL8_INLINE F scale_by_power(F a, F n) {
  M i = __builtin_convertvector(n, M), half = i >> 1;
  return a * F((half + 127) << 23) * F((i - half + 127) << 23);
}
// x - floor(x), and p * 2^floor(x); below -200 as at -200, where the result is 0 anyway.
VL8_INLINE F floor_above(F x) {
  x = max(all(-200.f), x);
  F n = __builtin_convertvector(__builtin_convertvector(x, M), F);
  return n > x ? n - 1 : n;
}
VL8_INLINE F fraction(F x) {
  return max(all(-200.f), x) - floor_above(x);
}
VL8_INLINE F scale_by_floor(F p, F x) {
  return scale_by_power(p, floor_above(x));
}
VL8_INLINE F nearest(F a) {  // |a| < 2^22, ties to even
  F big = copy_sign(all(0x1.8p23f), a);
  return (a + big) - big;
}
VL8_INLINE F broadcast(const void* p) {
  return all(*(const float*)p);
}

VL8_INLINE U bf16_bits(F x) {  // bf16 in the low half of each lane, to nearest even; NaN stays NaN
  U u = U(x), r = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
  return (x == x) ? r : (U{} + 0x7fc0u);
}
VL8_INLINE F round_bf16(F x) {
  return F(bf16_bits(x) << 16);
}
VL8_INLINE void store_bf16_part(uint16_t* p, F x, int64_t n) {
  U u = bf16_bits(x);
  for (int i = 0; i < 16 && i < n; ++i) p[i] = uint16_t(u[i]);
}
VL8_INLINE void store_bf16(uint16_t* p, F x) {
  store_bf16_part(p, x, 16);
}

// f16 bits to f32: shift the fields into place and let a multiplication by 2^112 mend the exponent,
// subnormals too.
VL8_INLINE F from_f16(U h) {
  F x = F((h & 0x7fffu) << 13) * all(0x1p112f);
  U special = (h & 0x7c00u) == 0x7c00u ? U{} + 0x7f800000u : U{};
  return F(U(x) | special | ((h & 0x8000u) << 16));
}
VL8_INLINE F from_e4m3(U q) {
  F x = F((q & 0x7fu) << 20) * all(0x1p120f);
  U nan = (q & 0x7fu) == 0x7fu ? U{} + 0x7fc00000u : U{};
  return F(U(x) | nan | ((q & 0x80u) << 24));
}
}  // namespace
}  // namespace vl8::cpu
// clang-format off: uses the names above, and the names below use it
#include "cpu/kernels/narrow_plain.inl"
// clang-format on
namespace vl8::cpu {
namespace {

template <Number N>
static __attribute__((noinline)) F load_number_part(const void* data, int64_t i, int64_t n) {
  if constexpr (N == Number::f32) return load_part((const float*)data + i, n);
  if constexpr (N >= Number::i8) return load_narrow_part<N>(data, i, n);
  U u = {};
  for (int j = 0; j < 16 && j < n; ++j)
    u[j] = N == Number::f16 || N == Number::bf16 ? ((const uint16_t*)data)[i + j]
                                                 : ((const uint8_t*)data)[i + j];
  if constexpr (N == Number::f16) return from_f16(u);
  if constexpr (N == Number::bf16) return F(u << 16);
  if constexpr (N == Number::e4m3) return from_e4m3(u);
  return from_f16(u << 8);  // e5m2 is the upper half of an f16
}
template <Number N>
VL8_INLINE F load_number(const void* data, int64_t i) {
  if constexpr (N == Number::f32) return load((const float*)data + i);
  return load_number_part<N>(data, i, 16);
}

// 64 consecutive e4m3 as value / 256. Other sets cannot afford to look for NaN here and use Spoiled for that.
VL8_INLINE void load_64_e4m3(const uint8_t* p, F (&w)[4]) {
  for (int i = 0; i < 4; ++i) w[i] = load_number<Number::e4m3>(p, i * 16) * all(1.f / 256);
}
struct Spoiled {
  VL8_INLINE Spoiled none() { return {}; }
  void see_64(const uint8_t*) {}
  bool any() const { return false; }
};

struct G {
  F v[1];
};
VL8_INLINE G load_group(const void* p) {
  return {{load((const float*)p)}};
}
VL8_INLINE void store_group(void* p, G g) {
  store((float*)p, g.v[0]);
}

VL8_INLINE void transpose_tile(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) __builtin_memcpy(out + j * out_stride + i, in + i * in_stride + j, 4);
}

}  // namespace
}  // namespace vl8::cpu

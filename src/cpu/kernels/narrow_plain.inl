// Weights of eight and four bits in integer and E2M1 form, in plain C++. Included by vec_plain.inl.
namespace vl8::cpu {
namespace {

template <Number N>
static __attribute__((noinline)) F load_narrow_part(const void* data, int64_t i, int64_t n) {
  static constexpr float kE2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  F x = {};
  for (int j = 0; j < 16 && j < n; ++j) {
    if constexpr (N == Number::i8) {
      x[j] = float(((const int8_t*)data)[i + j]);
    } else {
      const int code = ((const uint8_t*)data)[(i + j) / 2] >> ((i + j) % 2 * 4) & 15;
      x[j] = N == Number::i4 ? float(code - 8) : kE2m1[code];
    }
  }
  return x;
}
template <Number N>
VL8_INLINE F load_narrow(const void* data, int64_t i) {
  return load_narrow_part<N>(data, i, 16);
}

}  // namespace
}  // namespace vl8::cpu

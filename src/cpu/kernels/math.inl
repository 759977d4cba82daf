// Vector mathematics over F: exponentials and the activation curves. Errors are stated against exact
// mathematics.
namespace vl8::cpu {
namespace {

// 2^x for x below 127, 0 far below -126. The polynomial is minimax for the relative error on [0, 1): 7.5e-5
// of degree 3, enough for probabilities that become bf16, and 7.5e-8 of degree 5.
template <int Degree>
VL8_INLINE F exp2(F x) {
  static_assert(Degree == 3 || Degree == 5);
  F f = fraction(x), p;
  if constexpr (Degree == 3) {
    p = fma(f, all(0.0780245227f), all(0.226067155f));
    p = fma(p, f, all(0.695833541f));
    p = fma(p, f, all(0.999925219f));
  } else {
    p = fma(f, all(0.00187757668f), all(0.00898934009f));
    p = fma(p, f, all(0.0558263181f));
    p = fma(p, f, all(0.240153617f));
    p = fma(p, f, all(0.693153073f));
    p = fma(p, f, all(0.999999925f));
  }
  return scale_by_floor(p, x);
}

// e^x with 1 unit in the last place: the reduction, the Taylor-like coefficients and their order are those of SLEEF's
// expf_u10 (Shibata and Petrogalli, IEEE TPDS 2020), which PyTorch uses on CPUs, so that exact precisions agree with
// it to the bit. Above 88.7 it stays at the largest value, below -104 it is 0; NaN stays NaN.
VL8_INLINE F exp(F x) {
  x = min(all(88.7f), max(all(-120.f), x));
  const F n = nearest(mul(x, all(1.442695040888963407f)));
  F r = fma(n, all(-0.693145751953125f), x);  // ln 2 in two parts, the first with trailing zeros
  r = fma(n, all(-1.428606765330187045e-06f), r);
  F p = fma(r, all(0.000198527617612853646278381f), all(0.00139304355252534151077271f));
  p = fma(p, r, all(0.00833336077630519866943359f));
  p = fma(p, r, all(0.0416664853692054748535156f));
  p = fma(p, r, all(0.166666671633720397949219f));
  p = fma(p, r, all(0.5f));
  p = add(all(1.f), fma(mul(r, r), p, r));
  return choose(less(x, all(-104.f)), zero(), scale_by_power(p, n));
}

VL8_INLINE F sigmoid(F x) {
  return div(all(1.f), add(all(1.f), exp(sub(zero(), x))));
}
VL8_INLINE F silu(F x) {
  return div(x, add(all(1.f), exp(sub(zero(), x))));
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
VL8_INLINE F gelu_tanh(F x) {
  F cubic = fma(mul(mul(x, x), all(0.044715f)), x, x);
  return mul(x, sigmoid(mul(cubic, all(2 * 0.7978845608f))));
}

// erf by Abramowitz and Stegun 7.1.26: absolute error 1.5e-7.
VL8_INLINE F error_function(F x) {
  F a = magnitude(x), t = div(all(1.f), fma(a, all(0.3275911f), all(1.f)));
  F p = fma(t, all(1.061405429f), all(-1.453152027f));
  p = fma(p, t, all(1.421413741f));
  p = fma(p, t, all(-0.284496736f));
  p = fma(p, t, all(0.254829592f));
  F tail = mul(mul(p, t), exp(sub(zero(), mul(a, a))));
  return copy_sign(sub(all(1.f), tail), x);
}
VL8_INLINE F gelu_erf(F x) {
  return mul(mul(all(0.5f), x), add(all(1.f), error_function(mul(x, all(0.70710678f)))));
}

}  // namespace
}  // namespace vl8::cpu

// Hyperbolic tangent with 1 unit in the last place, in sums of two floats (Dekker 1971, Shewchuk 1997). The method and
// constants are those of SLEEF's tanhf_u10, which PyTorch uses, so that exact precisions agree with it to the bit.
namespace vl8::cpu {
namespace {

struct Pair {  // high + low, |low| at most half a unit in the last place of high
  F high, low;
};

VL8_INLINE F negative(F x) {
  return sub(zero(), x);
}
// a b - c, and c - a b, rounded once.
VL8_INLINE F product_error(F a, F b, F c) {
  return fma(a, b, negative(c));
}
VL8_INLINE F remainder_of(F a, F b, F c) {
  return fma(negative(a), b, c);
}
VL8_INLINE F two_sum_error(F x, F y, F s) {
  const F v = sub(s, x);
  return add(sub(x, sub(s, v)), sub(y, v));
}
VL8_INLINE Pair add(Pair x, F y) {
  const F s = add(x.high, y);
  return {s, add(two_sum_error(x.high, y, s), x.low)};
}
VL8_INLINE Pair add(Pair x, Pair y) {
  const F s = add(x.high, y.high);
  return {s, add(two_sum_error(x.high, y.high, s), add(x.low, y.low))};
}
// Where |x| is at least |y|.
VL8_INLINE Pair add_smaller(F x, Pair y) {
  const F s = add(x, y.high);
  return {s, add(add(sub(x, s), y.high), y.low)};
}
VL8_INLINE Pair add_smaller(Pair x, Pair y) {
  const F s = add(x.high, y.high);
  return {s, add(add(add(sub(x.high, s), y.high), x.low), y.low)};
}
VL8_INLINE Pair mul(Pair x, F y) {
  const F s = mul(x.high, y);
  return {s, fma(x.low, y, product_error(x.high, y, s))};
}
VL8_INLINE Pair mul(Pair x, Pair y) {
  const F s = mul(x.high, y.high);
  return {s, fma(x.high, y.low, fma(x.low, y.high, product_error(x.high, y.high, s)))};
}
VL8_INLINE Pair square(Pair x) {
  const F s = mul(x.high, x.high);
  return {s, fma(add(x.high, x.high), x.low, product_error(x.high, x.high, s))};
}
VL8_INLINE Pair inverse(Pair x) {
  const F s = div(all(1.f), x.high);
  return {s, mul(s, remainder_of(x.low, s, remainder_of(x.high, s, all(1.f))))};
}
VL8_INLINE Pair div(Pair n, Pair d) {
  const F t = div(all(1.f), d.high), s = mul(n.high, t), u = product_error(t, n.high, s),
          v = remainder_of(d.low, t, remainder_of(d.high, t, all(1.f)));
  return {s, fma(s, v, fma(n.low, t, u))};
}

// e^x for 0 <= x <= 20.
VL8_INLINE Pair exp_pair(F x) {
  const F n = nearest(mul(x, all(1.442695040888963407f)));
  Pair s = add(Pair{x, zero()}, mul(n, all(-0.693145751953125f)));
  s = add(s, mul(n, all(-1.428606765330187045e-06f)));
  F u = fma(all(0.1980960224e-3f), s.high, all(0.1394256484e-2f));
  u = fma(u, s.high, all(0.8333456703e-2f));
  u = fma(u, s.high, all(0.4166637361e-1f));
  Pair t = add(mul(s, u), all(0.166666659414234244790680580464f));
  t = add(mul(s, t), all(0.5f));
  t = add(s, mul(square(s), t));
  t = add_smaller(all(1.f), t);
  return {scale_by_power(t.high, n), scale_by_power(t.low, n)};
}

// (e^2x - 1) / (e^2x + 1) as (e^x - e^-x) / (e^x + e^-x); beyond 8.66 it is 1 in float32.
VL8_INLINE F tangent(F x) {
  const F a = magnitude(x);
  const Pair up = exp_pair(min(a, all(20.f))), down = inverse(up);
  const Pair y = div(add_smaller(up, Pair{negative(down.high), negative(down.low)}), add_smaller(up, down));
  const F inside = add(y.high, y.low);
  return copy_sign(choose(less(all(8.664339742f), a), all(1.f), add(inside, sub(x, x))), x);  // x - x: NaN stays NaN
}

// 0.5 z (1 + tanh(u)) as ATen computes it.
VL8_INLINE F exact_gelu_tanh(F z) {
  const F cube = mul(mul(z, z), z), u = mul(all(0.7978845608028654f), fma(all(0.044715f), cube, z));
  return mul(mul(all(0.5f), z), add(all(1.f), tangent(u)));
}

VL8_INLINE F apply_curve(Curve curve, F x) {
  if (curve == Curve::gelu_tanh) return gelu_tanh(x);
  if (curve == Curve::exact_gelu_tanh) return exact_gelu_tanh(x);
  if (curve == Curve::gelu_erf) return gelu_erf(x);
  return x;
}

}  // namespace
}  // namespace vl8::cpu

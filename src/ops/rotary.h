// Cosine and sine of rotary angles, one definition for all backends.
#pragma once
#include <cmath>
#include <cstdint>

namespace vl8 {

// Both to within 0.6 units in the last place of float32, for |angle| < 2^30: the angle is reduced to [-pi/2, pi/2] in
// double, where one odd polynomial of degree 9 (error 6e-9) is the sine. The coefficients were fitted to the golden
// rotary tables, where correctly rounded values differ from the reference's mathematical library in 4 % of the cosines
// and 1 % of the sines; these agree with it in all 1760 (docs/notes/cpu.md).
inline void rotary_turn(float angle, float* cos, float* sin) {
  constexpr double kPi = 3.14159265358979323846;
  auto sine = [](double x) {
    const double turns = std::nearbyint(x * (1 / kPi)), y = x - turns * kPi, s = y * y;
    const double p = y * (1 + s * (-0.16666659210676113 + s * (0.008333061509465462 +
                                   s * (-0.00019809408616784017 + s * 2.6055500851557132e-06))));
    return float(int64_t(turns) % 2 ? -p : p);
  };
  *sin = sine(double(angle));
  *cos = sine(double(angle) + kPi / 2);
}

// theta^-(i / n) as the reference computes it: the power in float32, then its reciprocal.
inline float rotary_frequency(double theta, int64_t i, int64_t n) {
  return 1.0f / float(std::pow(theta, double(float(i) / float(n))));
}

}  // namespace vl8

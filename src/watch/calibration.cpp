#include "watch/calibration.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace vl8::watch {
namespace {

// Gauss with the largest pivot; false where the system has no single solution.
bool solve(std::array<std::array<double, 9>, 8>& m, std::array<double, 8>& x) {
  for (size_t c = 0; c < 8; ++c) {
    size_t best = c;
    for (size_t r = c + 1; r < 8; ++r)
      if (std::fabs(m[r][c]) > std::fabs(m[best][c])) best = r;
    if (std::fabs(m[best][c]) < 1e-9) return false;
    std::swap(m[c], m[best]);
    for (size_t r = 0; r < 8; ++r) {
      if (r == c) continue;
      const double f = m[r][c] / m[c][c];
      for (size_t k = c; k < 9; ++k) m[r][k] -= f * m[c][k];
    }
  }
  for (size_t c = 0; c < 8; ++c) x[c] = m[c][8] / m[c][c];
  return true;
}

double area(const double* a, const double* b, const double* c) { return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]); }

}  // namespace

Calibration Calibration::scale(double per_mm, double ox, double oy) {
  if (!(per_mm > 0)) fail_usage("pixels_per_mm {}: above 0", per_mm);
  Calibration c;
  c.map_ = {1 / per_mm, 0, -ox / per_mm, 0, 1 / per_mm, -oy / per_mm, 0, 0, 1};
  return c;
}

// Each point gives two of the eight equations of the map (its last number is fixed at 1).
Calibration Calibration::four_points(std::span<const double> p) {
  if (p.size() != 16) fail_usage("a calibration has four points of four numbers, not {} numbers", p.size());
  for (size_t skip = 0; skip < 4; ++skip)
    for (size_t plane : {size_t(0), size_t(2)}) {
      const double* t[3];
      for (size_t i = 0, n = 0; i < 4; ++i)
        if (i != skip) t[n++] = p.data() + i * 4 + plane;
      if (std::fabs(area(t[0], t[1], t[2])) < 1e-9) fail_usage("three of the four calibration points lie on a line");
    }
  std::array<std::array<double, 9>, 8> m{};
  for (size_t i = 0; i < 4; ++i) {
    const double x = p[i * 4], y = p[i * 4 + 1], u = p[i * 4 + 2], v = p[i * 4 + 3];
    m[2 * i] = {x, y, 1, 0, 0, 0, -u * x, -u * y, u};
    m[2 * i + 1] = {0, 0, 0, x, y, 1, -v * x, -v * y, v};
  }
  std::array<double, 8> h{};
  if (!solve(m, h)) fail_usage("the four calibration points give no map");
  Calibration c;
  std::copy(h.begin(), h.end(), c.map_.begin());
  return c;
}

std::array<double, 2> Calibration::to_mm(double x, double y) const {
  const double w = map_[6] * x + map_[7] * y + map_[8];
  return {(map_[0] * x + map_[1] * y + map_[2]) / w, (map_[3] * x + map_[4] * y + map_[5]) / w};
}

}  // namespace vl8::watch

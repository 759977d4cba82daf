#include "cpu/vision_rows.h"

#include <algorithm>
#include <cmath>

#include "ops/ref_ops.h"
#include "ops/rotary.h"

namespace vl8::cpu {
namespace {

struct Place {
  int32_t y, x, h, w;
};

// Where each row lies, in the order of rows, so that rows can be shared among threads.
std::span<Place> places_of(Context& c, std::span<const Grid> grids, int64_t merge) {
  int64_t n = 0;
  for (const Grid& g : grids) n += g.patches();
  Place* p = c.scratch.array<Place>(n);
  each_patch(grids, merge, [&](int64_t row, int64_t y, int64_t x, const Grid& g) {
    p[row] = {int32_t(y), int32_t(x), int32_t(g.h), int32_t(g.w)};
  });
  return {p, size_t(n)};
}

// Neighbours of coordinate i of n on a table of `side`, and the weight of the second.
struct Between {
  int64_t low, high;
  float share;
};
Between between(int64_t i, int64_t n, int64_t side) {
  float at = n > 1 ? float(i) * float(side - 1) / float(n - 1) : 0.0f;
  int64_t low = int64_t(at);
  return {low, std::min(low + 1, side - 1), at - float(low)};
}

}  // namespace

void add_position_embedding(Context& c, const Tensor& x, const Tensor& table, std::span<const Grid> grids,
                            int64_t merge, float* out) {
  Arena::Scope scope(c.scratch);
  const int64_t n = x.cols(), side = int64_t(std::lround(std::sqrt(double(table.rows()))));
  check(side * side == table.rows(), "position table has {} rows, not a square", table.rows());
  const std::span<Place> places = places_of(c, grids, merge);
  c.each_row(x.rows(), n, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const Place& p = places[size_t(i)];
      const Between v = between(p.y, p.h, side), u = between(p.x, p.w, side);
      auto row = [&](int64_t r, int64_t col) { return table.f32() + (r * side + col) * n; };
      const float *p00 = row(v.low, u.low), *p01 = row(v.low, u.high), *p10 = row(v.high, u.low),
                  *p11 = row(v.high, u.high);
      const float w00 = (1 - v.share) * (1 - u.share), w01 = (1 - v.share) * u.share,
                  w10 = v.share * (1 - u.share), w11 = v.share * u.share;
      for (int64_t j = 0; j < n; ++j)
        out[i * n + j] = x.f32()[i * n + j] + (w00 * p00[j] + w01 * p01[j] + w10 * p10[j] + w11 * p11[j]);
    }
  });
}

void vision_rope(Context& c, std::span<const Grid> grids, int64_t head_dim, int64_t merge, float* cos,
                 float* sin) {
  Arena::Scope scope(c.scratch);
  const int64_t half = head_dim / 2, quarter = head_dim / 4;
  const std::span<Place> places = places_of(c, grids, merge);
  int64_t most = 1;
  for (const Grid& g : grids) most = std::max({most, g.h, g.w});
  float *cos_of = c.scratch.array<float>(most * quarter),
        *sin_of = c.scratch.array<float>(most * quarter);  // of a coordinate
  c.each_row(most, quarter * 32, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i)
      for (int64_t j = 0; j < quarter; ++j) {
        float angle = float(i) * rotary_frequency(10000.0, 2 * j, half);
        rotary_turn(angle, cos_of + i * quarter + j, sin_of + i * quarter + j);
      }
  });
  c.each_row(int64_t(places.size()), head_dim, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const Place& p = places[size_t(i)];
      std::copy_n(cos_of + p.y * quarter, quarter, cos + i * half),
          std::copy_n(cos_of + p.x * quarter, quarter, cos + i * half + quarter);
      std::copy_n(sin_of + p.y * quarter, quarter, sin + i * half),
          std::copy_n(sin_of + p.x * quarter, quarter, sin + i * half + quarter);
    }
  });
}

}  // namespace vl8::cpu

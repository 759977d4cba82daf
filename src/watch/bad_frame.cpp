#include "watch/bad_frame.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace vl8::watch {
namespace {

constexpr int kSide = 256;
constexpr size_t kRemembered = 31;  // good frames whose sharpness is kept

struct Grey {
  int w = 0, h = 0;
  std::vector<float> v;
  float at(int x, int y) const { return v[size_t(y * w + x)]; }
};

// Box means, so that noise does not look like sharpness.
Grey shrink(const Image& image) {
  const int step = std::max({1, image.width / kSide, image.height / kSide});
  Grey g{image.width / step, image.height / step, {}};
  g.v.assign(size_t(g.w * g.h), 0.0f);
  for (int y = 0; y < g.h * step; ++y) {
    const uint8_t* row = image.row(y);
    float* to = g.v.data() + size_t(y / step) * size_t(g.w);
    for (int x = 0; x < g.w * step; ++x) to[x / step] += float(row[3 * x] + 2 * row[3 * x + 1] + row[3 * x + 2]) * 0.25f;
  }
  for (float& v : g.v) v /= float(step * step);
  return g;
}

struct Levels {
  double mean = 0, spread = 0, bright = 0;
};
Levels levels(const Grey& g) {
  Levels l;
  for (float v : g.v) l.mean += v, l.bright += v >= 250;
  l.mean /= double(g.v.size()), l.bright /= double(g.v.size());
  for (float v : g.v) l.spread += (v - l.mean) * (v - l.mean);
  l.spread = std::sqrt(l.spread / double(g.v.size()));
  return l;
}

// Variance of the Laplacian.
double sharpness(const Grey& g) {
  double sum = 0, squares = 0, n = 0;
  for (int y = 1; y + 1 < g.h; ++y)
    for (int x = 1; x + 1 < g.w; ++x) {
      const double l = 4 * g.at(x, y) - g.at(x - 1, y) - g.at(x + 1, y) - g.at(x, y - 1) - g.at(x, y + 1);
      sum += l, squares += l * l, n += 1;
    }
  return n > 0 ? squares / n - (sum / n) * (sum / n) : 0;
}

// Mean step from each row to the next.
std::vector<double> row_steps(const Grey& g) {
  std::vector<double> steps;
  for (int y = 1; y < g.h; ++y) {
    double sum = 0;
    for (int x = 0; x < g.w; ++x) sum += std::fabs(g.at(x, y) - g.at(x, y - 1));
    steps.push_back(sum / g.w);
  }
  return steps;
}

double median_of(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + int64_t(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// Lost packets leave one border across the picture below which it is displaced, grey or old: between two rows almost every
// pixel steps. An edge of the scene does the same, but it was there before; so the last good frame must have had none there.
bool torn(const Grey& g, const std::vector<double>& steps, const std::vector<double>& before, double ratio) {
  if (g.h < 16 || before.size() != steps.size()) return false;
  const size_t worst = size_t(std::max_element(steps.begin(), steps.end()) - steps.begin());
  const double step = steps[worst], median = std::max(median_of(steps), 0.5);
  if (step < ratio * median || worst < 2 || worst + 3 > steps.size()) return false;
  if (std::count_if(steps.begin(), steps.end(), [&](double s) { return s > step / 2; }) > 2) return false;
  for (size_t y = worst - 2; y <= worst + 2; ++y)
    if (before[y] > step / 2) return false;
  int stepping = 0;
  for (int x = 0; x < g.w; ++x) stepping += std::fabs(g.at(x, int(worst) + 1) - g.at(x, int(worst))) > 4 * median;
  return stepping > g.w * 7 / 10;
}

}  // namespace

std::string_view fault_name(FrameFault fault) {
  constexpr std::array<std::string_view, 6> kNames = {"none", "covered", "over-exposed", "blurred", "frozen", "torn"};
  return kNames[size_t(fault)];
}

FrameFault FrameJudge::judge(const Image& frame, double time_s) {
  const uint64_t hash = XXH3_64bits(frame.rgb.get(), frame.bytes());
  if (!any_ || hash != last_hash_) same_since_s_ = time_s;
  any_ = true, last_hash_ = hash;
  if (settings_.frozen_s > 0 && time_s - same_since_s_ >= settings_.frozen_s) return FrameFault::frozen;

  const Grey g = shrink(frame);
  const Levels l = levels(g);
  if (l.bright >= settings_.bright_share) return FrameFault::over_exposed;
  if (l.spread < settings_.flat_spread) return l.mean > 240 ? FrameFault::over_exposed : FrameFault::covered;
  if (l.mean < settings_.dark_level && l.spread < 2 * settings_.flat_spread) return FrameFault::covered;
  std::vector<double> steps = row_steps(g);
  if (torn(g, steps, steps_, settings_.tear_ratio)) return FrameFault::torn;
  const double sharp = sharpness(g);
  if (settings_.blur_ratio > 0 && sharpness_.size() >= 3 && sharp < settings_.blur_ratio * median_of(sharpness_)) return FrameFault::blurred;
  if (sharpness_.size() == kRemembered) sharpness_.erase(sharpness_.begin());
  sharpness_.push_back(sharp);
  steps_ = std::move(steps);
  return FrameFault::none;
}

}  // namespace vl8::watch

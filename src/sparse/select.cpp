#include "sparse/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace vl8 {
namespace {

void add_weighted(std::vector<float>& to, const std::vector<float>& scores, float weight) {
  if (weight == 0 || scores.empty()) return;
  check(scores.size() == to.size(), "{} scores for {} groups", scores.size(), to.size());
  std::vector<float> order = scores;
  const size_t at = std::min(order.size() - 1, order.size() * 95 / 100);
  std::nth_element(order.begin(), order.begin() + int64_t(at), order.end());
  const float top = std::max(order[at], 1e-6f);
  for (size_t i = 0; i < to.size(); ++i) to[i] += weight * std::clamp(scores[i] / top, 0.0f, 1.0f);
}

template <typename F>
void each_neighbour(int64_t i, int64_t h, int64_t w, F f) {
  const int64_t y = i / w, x = i % w;
  for (int64_t b = std::max<int64_t>(0, y - 1); b <= std::min(h - 1, y + 1); ++b)
    for (int64_t a = std::max<int64_t>(0, x - 1); a <= std::min(w - 1, x + 1); ++a)
      if (b != y || a != x) f(b * w + a);
}

std::vector<float> with_neighbours(const std::vector<float>& s, int64_t h, int64_t w) {
  std::vector<float> out = s;
  for (int64_t i = 0; i < int64_t(s.size()); ++i)
    each_neighbour(i, h, w, [&](int64_t n) { out[size_t(i)] = std::max(out[size_t(i)], 0.5f * s[size_t(n)]); });
  return out;
}

// `n` of the groups that are not taken yet, as evenly as their order allows.
void spread_evenly(std::vector<bool>& taken, int64_t n) {
  std::vector<int64_t> rest;
  for (size_t i = 0; i < taken.size(); ++i)
    if (!taken[i]) rest.push_back(int64_t(i));
  for (int64_t k = 0; k < n; ++k) taken[size_t(rest[size_t((2 * k + 1) * int64_t(rest.size()) / (2 * n))])] = true;
}

double norm(const float* x, int64_t c) {
  double s = 0;
  for (int64_t i = 0; i < c; ++i) s += double(x[i]) * x[i];
  return std::sqrt(s) + 1e-12;
}

std::vector<float> mean_of(const float* x, int64_t n, int64_t c) {
  std::vector<float> mean(size_t(c), 0.0f);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < c; ++j) mean[size_t(j)] += x[i * c + j] / float(n);
  return mean;
}

}  // namespace

std::vector<int32_t> select_groups(const GroupScores& scores, int64_t h, int64_t w, int64_t keep, const GatePolicy& p) {
  const int64_t n = h * w;
  check(keep >= 0 && keep <= n, "{} of {} groups", keep, n);
  std::vector<float> score(size_t(n), 0.0f);
  add_weighted(score, scores.change, p.change), add_weighted(score, scores.detail, p.detail);
  add_weighted(score, scores.saliency, p.saliency), add_weighted(score, scores.agreement, p.agreement);
  score = with_neighbours(score, h, w);
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score[size_t(a)] > score[size_t(b)]; });
  const int64_t even = keep < n ? int64_t(std::floor(double(p.background) * double(keep))) : 0;
  std::vector<bool> taken(size_t(n), false);
  for (int64_t i = 0; i < keep - even; ++i) taken[size_t(order[size_t(i)])] = true;
  spread_evenly(taken, even);
  std::vector<int32_t> out;
  for (int64_t i = 0; i < n; ++i)
    if (taken[size_t(i)]) out.push_back(int32_t(i));
  return out;
}

double automatic_share(const GroupScores& s, const Sparsity& sparsity) {
  const size_t n = std::max(s.change.size(), s.detail.size());
  if (n == 0) return sparsity.ceiling;
  double useful = 0;
  for (size_t i = 0; i < n; ++i) {
    const bool flat = s.detail.empty() || s.detail[i] < kFlatLevels;
    // In a clip what stands still has been seen a frame earlier: structure counts only where something moved.
    const bool still = !s.change.empty() && s.change[i] < kChangedLevels;
    useful += flat || still ? 0.1 : 1;
  }
  return std::clamp(useful / double(n), sparsity.floor, sparsity.ceiling);
}

std::vector<int32_t> changed_groups(std::span<const float> change, int64_t h, int64_t w, float levels) {
  check(int64_t(change.size()) == h * w, "{} scores for {}x{} groups", change.size(), h, w);
  std::vector<bool> keep(change.size(), false);
  for (int64_t i = 0; i < h * w; ++i)
    if (change[size_t(i)] >= levels) {
      keep[size_t(i)] = true;
      each_neighbour(i, h, w, [&](int64_t n) { keep[size_t(n)] = true; });
    }
  std::vector<int32_t> out;
  for (size_t i = 0; i < keep.size(); ++i)
    if (keep[i]) out.push_back(int32_t(i));
  return out;
}

std::vector<float> saliency_scores(const float* x, int64_t n, int64_t c) {
  const std::vector<float> mean = mean_of(x, n, c);
  const double length = norm(mean.data(), c);
  std::vector<float> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    double dot = 0;
    for (int64_t j = 0; j < c; ++j) dot += double(x[i * c + j]) * mean[size_t(j)];
    out[size_t(i)] = float(1 - dot / (length * norm(x + i * c, c)));
  }
  return out;
}

std::vector<float> agreement_scores(const float* x, int64_t n, const float* words, int64_t m, int64_t c) {
  std::vector<float> out(size_t(n), 0.0f);
  if (m == 0) return out;
  const std::vector<float> mx = mean_of(x, n, c), mw = mean_of(words, m, c);
  std::vector<float> centred(words, words + m * c), one(static_cast<size_t>(c));
  for (int64_t k = 0; k < m; ++k) {
    float* v = centred.data() + k * c;
    if (m > 1)
      for (int64_t j = 0; j < c; ++j) v[j] -= mw[size_t(j)];
    const float length = float(norm(v, c));
    for (int64_t j = 0; j < c; ++j) v[j] /= length;
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) one[size_t(j)] = x[i * c + j] - mx[size_t(j)];
    const double length = norm(one.data(), c);
    for (int64_t k = 0; k < m; ++k) {
      double dot = 0;
      for (int64_t j = 0; j < c; ++j) dot += double(one[size_t(j)]) * centred[size_t(k * c + j)];
      out[size_t(i)] = std::max(out[size_t(i)], float(dot / length));
    }
  }
  return out;
}

}  // namespace vl8

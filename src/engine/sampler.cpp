#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace vl8 {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014) over (seed, index): a counter-based draw in [0, 1).
double uniform(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0xd1342543de82ef95ull + (index + 1) * 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < 2; ++i) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
  }
  return double(z >> 11) * 0x1p-53;
}

int32_t argmax(std::span<const float> logits) {  // the lowest id among equals
  return int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

bool more_likely(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

double log_sum_exp(std::span<const float> logits) {
  double top = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float l : logits) sum += std::exp(double(l) - top);
  return top + std::log(sum);
}

}  // namespace

void SamplingParams::validate() const {
  auto range = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high)) fail_usage("{} is {}, but must lie in {}..{}", name, value, low, high);
  };
  range("temperature", temperature, 0, 100);
  range("top_k", top_k, 0, 1e9);
  range("top_p", top_p, 1e-6, 1);
  range("min_p", min_p, 0, 1);
  range("repetition_penalty", repetition_penalty, 1e-3, 1e3);
  range("presence_penalty", presence_penalty, -2, 2);
  range("frequency_penalty", frequency_penalty, -2, 2);
  range("logprobs", logprobs, -1, 100);
}

Sampler::Sampler(SamplingParams params, std::span<const int32_t> prompt) : params_(std::move(params)) {
  params_.validate();
  if (params_.repetition_penalty != 1.0f)
    for (int32_t t : prompt) said_.try_emplace(t, 0);
}

void Sampler::penalise(std::vector<float>& logits) const {
  for (auto [token, bias] : params_.logit_bias)
    if (token >= 0 && size_t(token) < logits.size()) logits[size_t(token)] += bias;
  for (auto [token, count] : said_) {
    if (size_t(token) >= logits.size()) continue;
    float& l = logits[size_t(token)];
    l = l > 0 ? l / params_.repetition_penalty : l * params_.repetition_penalty;
    if (count > 0) l -= params_.presence_penalty + params_.frequency_penalty * float(count);
  }
}

// Candidates with their probabilities, up to a common factor, as far as top-k goes; not sorted.
void Sampler::collect(std::span<const float> logits) const {
  auto& c = candidates_;
  c.clear();
  const size_t most = params_.top_k > 0 ? std::min(size_t(params_.top_k), logits.size()) : logits.size();
  auto cut = [&] {
    if (c.size() <= most) return;
    std::nth_element(c.begin(), c.begin() + int64_t(most) - 1, c.end(), more_likely);
    c.resize(most);
  };
  // With top-k, what lies below the k-th best seen so far is never stored: for most of the vocabulary one comparison.
  float least = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > least)) continue;
    c.emplace_back(logits[i], int32_t(i));
    if (c.size() < 4 * most) continue;
    cut();
    least = std::nextafter(c[most - 1].first, -std::numeric_limits<float>::infinity());  // equals are settled by their ids
  }
  cut();
  check(!c.empty(), "no token can be drawn: every logit is masked or not a number");
  const double top = std::max_element(c.begin(), c.end(), [](auto& x, auto& y) { return x.first < y.first; })->first;
  for (auto& [value, token] : c) value = float(std::exp((double(value) - top) / params_.temperature));
}

int32_t Sampler::draw(std::span<const float> logits) const {
  collect(logits);
  auto& c = candidates_;
  double sum = 0;
  for (const auto& [p, token] : c) sum += p;
  // The order is needed only as far as the draw or the cuts reach, so it is made in pieces that grow.
  size_t sorted = 0;
  auto at = [&](size_t i) -> const std::pair<float, int32_t>& {
    while (sorted <= i) {
      const size_t end = std::min(c.size(), std::max<size_t>(64, sorted * 8));
      if (end < c.size()) std::nth_element(c.begin() + int64_t(sorted), c.begin() + int64_t(end) - 1, c.end(), more_likely);
      std::sort(c.begin() + int64_t(sorted), c.begin() + int64_t(end), more_likely);
      sorted = end;
    }
    return c[i];
  };
  size_t keep = c.size();
  double kept = sum;
  if (params_.top_p < 1 || params_.min_p > 0) {
    keep = 0, kept = 0;
    const double least = params_.min_p * at(0).first;
    while (keep < c.size() && (keep == 0 || (kept < params_.top_p * sum && at(keep).first >= least))) kept += at(keep++).first;
  }
  double u = uniform(params_.seed, index_) * kept;
  for (size_t i = 0; i < keep; ++i)
    if ((u -= at(i).first) < 0) return c[i].second;
  return at(keep - 1).second;
}

SampledToken Sampler::sample(std::span<const float> logits, std::span<const uint32_t> allowed) {
  check(!logits.empty() && (allowed.empty() || allowed.size() * 32 >= logits.size()), "sample: {} logits, mask of {} words", logits.size(),
        allowed.size());
  SampledToken out;
  const bool changed = !allowed.empty() || !params_.logit_bias.empty() || params_.repetition_penalty != 1.0f || params_.presence_penalty != 0 ||
                       params_.frequency_penalty != 0;
  if (!changed && params_.temperature == 0) {
    out.token = argmax(logits);
  } else {
    scratch_.assign(logits.begin(), logits.end());
    for (size_t i = 0; i < allowed.size() * 32 && i < scratch_.size(); ++i)
      if (!(allowed[i / 32] >> (i % 32) & 1)) scratch_[i] = -std::numeric_limits<float>::infinity();
    if (changed) penalise(scratch_);
    out.token = params_.temperature == 0 ? argmax(scratch_) : draw(scratch_);
  }
  if (!std::isfinite(logits[size_t(out.token)]))
    fail(ErrorKind::internal, "the model produced a logit that is not a number; the checkpoint or a kernel is broken");
  if (params_.logprobs >= 0) {
    double total = log_sum_exp(logits);
    out.logprob = float(double(logits[size_t(out.token)]) - total);
    std::vector<int32_t> ids(logits.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i);
    size_t n = std::min(ids.size(), size_t(params_.logprobs));
    std::partial_sort(ids.begin(), ids.begin() + int64_t(n), ids.end(),
                      [&](int32_t a, int32_t b) { return logits[size_t(a)] != logits[size_t(b)] ? logits[size_t(a)] > logits[size_t(b)] : a < b; });
    for (size_t i = 0; i < n; ++i) out.top.push_back({ids[i], float(double(logits[size_t(ids[i])]) - total)});
  }
  ++said_[out.token];
  ++index_;
  return out;
}

}  // namespace vl8

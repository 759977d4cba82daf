#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

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

int32_t Sampler::draw(const std::vector<float>& logits) const {
  auto& c = candidates_;
  c.clear();
  for (size_t i = 0; i < logits.size(); ++i) c.emplace_back(logits[i] / params_.temperature, int32_t(i));
  auto before = [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; };
  if (params_.top_k > 0 && size_t(params_.top_k) < c.size()) {
    std::nth_element(c.begin(), c.begin() + params_.top_k - 1, c.end(), before);
    c.resize(size_t(params_.top_k));
  }
  std::sort(c.begin(), c.end(), before);
  double sum = 0, top = c.front().first;
  for (auto& [p, token] : c) sum += (p = float(std::exp(double(p) - top)));
  size_t keep = 0;
  double kept = 0;
  const double least = params_.min_p * c.front().first;
  while (keep < c.size() && (keep == 0 || (kept < params_.top_p * sum && c[keep].first >= least))) kept += c[keep++].first;
  double u = uniform(params_.seed, index_) * kept;
  for (size_t i = 0; i < keep; ++i)
    if ((u -= c[i].first) < 0) return c[i].second;
  return c[keep - 1].second;
}

SampledToken Sampler::sample(std::span<const float> logits) {
  check(!logits.empty(), "sample: no logits");
  SampledToken out;
  const bool changed = !params_.logit_bias.empty() || params_.repetition_penalty != 1.0f || params_.presence_penalty != 0 ||
                       params_.frequency_penalty != 0;
  if (!changed && params_.temperature == 0) {
    out.token = argmax(logits);
  } else {
    scratch_.assign(logits.begin(), logits.end());
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

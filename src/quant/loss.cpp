// Distances between the logits of two models.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "engine/runner.h"
#include "quant/report.h"

namespace vl8 {
namespace {

constexpr int64_t kPageTokens = 64;

// Logits of some rows of each prompt, prompt by prompt, to `take(values [rows, vocab])`.
template <typename Take>
void run_prompts(LoadedModel& m, const ReferenceLogits& r, Take take) {
  for (size_t i = 0; i < r.prompts.size(); ++i) {
    Sequence s(r.prompts[i]);
    Runner runner(*m.ops, m.config, m.weights, s.pending() / kPageTokens + 1, kPageTokens);
    Runner::Work work{&s, s.pending(), true};
    const Runner::Logits logits = runner.step(std::span(&work, 1));
    std::vector<float> rows;
    for (int32_t row : r.rows[i]) {
      auto l = logits.row(row);
      rows.insert(rows.end(), l.begin(), l.end());
    }
    take(rows);
  }
}

struct Divergence {
  double kl = 0, cosine = 0;
  bool top1_changed = false;
};

Divergence compare(const float* p, const float* q, int64_t n) {
  const float *top_p = std::max_element(p, p + n), *top_q = std::max_element(q, q + n);
  double sum_p = 0, sum_q = 0, pp = 0, qq = 0, pq = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum_p += std::exp(double(p[i]) - double(*top_p)), sum_q += std::exp(double(q[i]) - double(*top_q));
    pp += double(p[i]) * p[i], qq += double(q[i]) * q[i], pq += double(p[i]) * q[i];
  }
  const double log_p = double(*top_p) + std::log(sum_p), log_q = double(*top_q) + std::log(sum_q);
  Divergence d{.cosine = pq / std::sqrt(std::max(1e-300, pp * qq)), .top1_changed = top_p - p != top_q - q};
  for (int64_t i = 0; i < n; ++i) {
    const double lp = double(p[i]) - log_p;
    d.kl += std::exp(lp) * (lp - (double(q[i]) - log_q));
  }
  d.kl = std::max(0.0, d.kl);
  return d;
}

}  // namespace

ReferenceLogits reference_logits(const std::filesystem::path& source, std::vector<Prompt> prompts, const EngineOptions& engine,
                                 int64_t max_positions) {
  ReferenceLogits r;
  r.prompts = std::move(prompts);
  int64_t total = 0, seen = 0;
  for (const Prompt& p : r.prompts) total += int64_t(p.ids.size());
  const int64_t every = std::max<int64_t>(1, (total + max_positions - 1) / max_positions);
  for (const Prompt& p : r.prompts) {
    r.rows.emplace_back();
    for (size_t i = 0; i < p.ids.size(); ++i)
      if (seen++ % every == 0) r.rows.back().push_back(int32_t(i));
  }
  LoadedModel m = load_model(source, engine);
  run_prompts(m, r, [&](const std::vector<float>& rows) { r.values.insert(r.values.end(), rows.begin(), rows.end()); });
  return r;
}

LogitLoss measure_loss(const ReferenceLogits& r, LoadedModel& quantised) {
  const int64_t vocab = quantised.config.text.vocab_size;
  LogitLoss loss;
  std::vector<double> kls;
  const float* p = r.values.data();
  run_prompts(quantised, r, [&](const std::vector<float>& rows) {
    for (size_t at = 0; at < rows.size(); at += size_t(vocab), p += vocab) {
      const Divergence d = compare(p, rows.data() + at, vocab);
      kls.push_back(d.kl);
      loss.kl += d.kl, loss.cosine += d.cosine, loss.top1_changed += d.top1_changed;
    }
  });
  check(!kls.empty() && p == r.values.data() + r.values.size(), "logits of {} positions", kls.size());
  const double n = double(kls.size());
  loss.tokens = int64_t(kls.size());
  loss.kl /= n, loss.cosine /= n, loss.top1_changed /= n;
  const auto p99 = kls.begin() + int64_t(0.99 * (n - 1));
  std::nth_element(kls.begin(), p99, kls.end());
  loss.kl_p99 = *p99;
  return loss;
}

LogitLoss measure_loss(const std::filesystem::path& source, const std::filesystem::path& quantised, std::vector<Prompt> prompts,
                       const EngineOptions& engine, int64_t max_positions) {
  const ReferenceLogits r = reference_logits(source, std::move(prompts), engine, max_positions);
  LoadedModel m = load_model(quantised, engine);
  return measure_loss(r, m);
}

}  // namespace vl8

#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "core/error.h"

namespace vl8 {
namespace {

const std::vector<float> kLogits{0.0f, 2.0f, 1.0f, -1.0f, 2.0f};

std::map<int32_t, int> draws(SamplingParams p, const std::vector<float>& logits, int n) {
  std::map<int32_t, int> count;
  for (int i = 0; i < n; ++i) {
    p.seed = uint64_t(i);
    ++count[Sampler(p, {}).sample(logits).token];
  }
  return count;
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) { EXPECT_EQ(Sampler({}, {}).sample(kLogits).token, 1); }

TEST(Sampler, DrawsFollowTheProbabilities) {
  SamplingParams p;
  p.temperature = 0.7f;
  auto count = draws(p, kLogits, 20000);
  double sum = 0;
  for (float l : kLogits) sum += std::exp(double(l) / 0.7);
  for (size_t i = 0; i < kLogits.size(); ++i)
    EXPECT_NEAR(count[int32_t(i)] / 20000.0, std::exp(double(kLogits[i]) / 0.7) / sum, 0.012) << i;
}

TEST(Sampler, CutsKeepTheLikely) {
  SamplingParams p;
  p.temperature = 1;
  p.top_k = 2;
  EXPECT_EQ(draws(p, kLogits, 500).size(), 2u);
  p.top_k = 0, p.top_p = 0.5f;  // the two largest have 0.39 each: one is not enough, two are
  EXPECT_EQ(draws(p, kLogits, 500).size(), 2u);
  p.top_p = 1e-5f;
  EXPECT_EQ(draws(p, kLogits, 100).size(), 1u);
  p.top_p = 1, p.min_p = 0.3f;  // exp(1 - 2) = 0.37 stays, exp(-2) goes
  EXPECT_EQ(draws(p, kLogits, 2000).size(), 3u);
}

TEST(Sampler, PenaltiesAreThoseOfTheApi) {
  SamplingParams p;
  p.presence_penalty = 0.5f, p.frequency_penalty = 1;
  Sampler s(p, {});
  EXPECT_EQ(s.sample(kLogits).token, 1);  // then 2.0 - 0.5 - 1 = 0.5
  EXPECT_EQ(s.sample(kLogits).token, 4);
  EXPECT_EQ(s.sample(kLogits).token, 2);
  EXPECT_EQ(s.sample(kLogits).token, 1);
  SamplingParams r;
  r.repetition_penalty = 3;
  std::vector<int32_t> prompt{1, 4};
  EXPECT_EQ(Sampler(r, prompt).sample(kLogits).token, 2);  // counts the prompt
  r.repetition_penalty = 1, r.logit_bias = {{3, 10.0f}};
  EXPECT_EQ(Sampler(r, prompt).sample(kLogits).token, 3);
}

TEST(Sampler, SeedDecides) {
  SamplingParams p;
  p.temperature = 1, p.seed = 42;
  Sampler a(p, {}), b(p, {});
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = float(i % 17) / 5;
  std::vector<int32_t> first, second;
  for (int i = 0; i < 20; ++i) first.push_back(a.sample(logits).token), second.push_back(b.sample(logits).token);
  EXPECT_EQ(first, second);
  EXPECT_GT(std::set<int32_t>(first.begin(), first.end()).size(), 10u);
}

TEST(Sampler, MaskedTokensAreNeverTaken) {
  const uint32_t bits[] = {0b01100};  // tokens 2 and 3
  EXPECT_EQ(Sampler({}, {}).sample(kLogits, bits).token, 2);
  SamplingParams p;
  p.temperature = 5;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    p.seed = seed;
    const int32_t t = Sampler(p, {}).sample(kLogits, bits).token;
    ASSERT_TRUE(t == 2 || t == 3);
  }
  p.logit_bias = {{0, 100.0f}};  // a bias does not lift a mask
  EXPECT_NE(Sampler(p, {}).sample(kLogits, bits).token, 0);
}

// Against the definition, with everything sorted.
TEST(Sampler, CutsOfALargeVocabulary) {
  std::mt19937 rng(std::random_device{}());
  std::normal_distribution<float> normal(0, 3);
  for (int round = 0; round < 40; ++round) {
    std::vector<float> logits(5000);
    for (float& l : logits) l = std::round(normal(rng) * 4) / 4;  // many equals
    SamplingParams p;
    p.temperature = 0.8f, p.top_k = int32_t(rng() % 60), p.top_p = round % 2 ? 1 : 0.9f, p.min_p = round % 3 ? 0 : 0.05f;
    std::vector<std::pair<double, int32_t>> all;
    for (size_t i = 0; i < logits.size(); ++i) all.emplace_back(-double(logits[i]), int32_t(i));
    std::sort(all.begin(), all.end());
    if (p.top_k > 0) all.resize(size_t(p.top_k));
    double sum = 0, kept = 0;
    for (auto& [l, t] : all) sum += std::exp((all[0].first - l) / 0.8);
    std::set<int32_t> may;
    for (auto& [l, t] : all) {
      const double share = std::exp((all[0].first - l) / 0.8);
      if (!may.empty() && (kept >= p.top_p * sum * 1.0001 || share < p.min_p * 0.9999)) break;
      may.insert(t), kept += share;
    }
    for (uint64_t seed = 0; seed < 50; ++seed) {
      p.seed = seed;
      ASSERT_TRUE(may.count(Sampler(p, {}).sample(logits).token));
    }
  }
}

TEST(Sampler, LogprobsAreOfTheModel) {
  SamplingParams p;
  p.logprobs = 2, p.temperature = 0.1f;
  SampledToken t = Sampler(p, {}).sample(kLogits);
  double sum = 0;
  for (float l : kLogits) sum += std::exp(double(l));
  EXPECT_NEAR(t.logprob, 2 - std::log(sum), 1e-5);
  ASSERT_EQ(t.top.size(), 2u);
  EXPECT_EQ(t.top[0].token, 1);
  EXPECT_EQ(t.top[1].token, 4);
}

TEST(Sampler, RefusesWhatMakesNoSense) {
  SamplingParams p;
  p.top_p = 0;
  EXPECT_THROW(p.validate(), Error);
  p.top_p = 1, p.temperature = -1;
  EXPECT_THROW(p.validate(), Error);
  p.temperature = std::nanf("");
  EXPECT_THROW(p.validate(), Error);
  EXPECT_THROW(Sampler({}, {}).sample(std::vector<float>{std::nanf("")}), Error);
}

}  // namespace
}  // namespace vl8

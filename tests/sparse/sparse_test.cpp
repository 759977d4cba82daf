// Selection, frame gate and budget: plain numbers in, indices and verdicts out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "core/error.h"
#include "sparse/controller.h"
#include "sparse/frame_gate.h"
#include "sparse/patch_scores.h"
#include "sparse/policy.h"
#include "sparse/select.h"

namespace vl8 {
namespace {

std::mt19937& rng() {
  static std::mt19937 r(std::random_device{}());
  return r;
}
std::vector<float> random_scores(size_t n) {
  std::vector<float> v(n);
  for (float& x : v) x = std::uniform_real_distribution<float>(0, 50)(rng());
  return v;
}

TEST(SparsityText, FormsAndMistakes) {
  EXPECT_EQ(parse_sparsity("off").mode, GateMode::off);
  EXPECT_EQ(parse_sparsity("auto").mode, GateMode::automatic);
  EXPECT_EQ(parse_sparsity("auto").floor, 0.30);
  EXPECT_EQ(parse_sparsity("auto").ceiling, 0.90);
  EXPECT_EQ(parse_sparsity("0.3").share, 0.3);
  EXPECT_STREQ(parse_sparsity("0.3:saliency").rules().name, "saliency");
  EXPECT_EQ(parse_sparsity("auto:change:0.1-0.5").ceiling, 0.5);
  for (const char* wrong : {"", "on", "0", "1.5", "-1", "auto:none", "0.3:detail:0.1-0.2", "auto:detail:0.9-0.1", "auto:detail:x", "nan"})
    EXPECT_THROW(parse_sparsity(wrong), Error) << wrong;
}

TEST(SelectGroups, KeepsTheNumberInOrderAndIsDeterministic) {
  for (int n = 0; n < 50; ++n) {
    const int64_t h = 1 + int64_t(rng()() % 12), w = 1 + int64_t(rng()() % 12), keep = int64_t(rng()() % uint64_t(h * w + 1));
    const GroupScores s{random_scores(size_t(h * w)), random_scores(size_t(h * w)), {}, {}};
    for (const GatePolicy& p : gate_policies()) {
      std::vector<int32_t> a = select_groups(s, h, w, keep, p);
      ASSERT_EQ(int64_t(a.size()), keep);
      EXPECT_TRUE(std::is_sorted(a.begin(), a.end()));
      EXPECT_EQ(std::set<int32_t>(a.begin(), a.end()).size(), a.size());
      if (keep) EXPECT_TRUE(a.front() >= 0 && a.back() < h * w);
      EXPECT_EQ(a, select_groups(s, h, w, keep, p));
    }
  }
}

TEST(SelectGroups, TheBestAreThereAndTheRestIsSpread) {
  std::vector<float> detail(100, 0.0f);
  for (int i : {33, 34, 43, 44}) detail[size_t(i)] = 60;
  std::vector<int32_t> kept = select_groups({{}, detail, {}, {}}, 10, 10, 20, find_gate_policy("detail"));
  for (int i : {33, 34, 43, 44, 32, 45}) EXPECT_TRUE(std::binary_search(kept.begin(), kept.end(), i)) << i;  // and their neighbours
  std::vector<int32_t> even = select_groups({{}, detail, {}, {}}, 10, 10, 10, find_gate_policy("uniform"));
  for (size_t i = 1; i < even.size(); ++i) EXPECT_EQ(even[i] - even[i - 1], 10);
}

// A patch in the order of the vision tower, made of a picture.
std::vector<float> patches_of(const std::vector<uint8_t>& grey, int side, const PatchShape& s) {
  const int groups = side / 32;
  std::vector<float> out;
  for (int gy = 0; gy < groups; ++gy)
    for (int gx = 0; gx < groups; ++gx)
      for (int p = 0; p < 4; ++p)
        for (int plane = 0; plane < int(s.channels * s.temporal); ++plane)
          for (int y = 0; y < 16; ++y)
            for (int x = 0; x < 16; ++x)
              out.push_back((float(grey[size_t((gy * 32 + p / 2 * 16 + y) * side + gx * 32 + p % 2 * 16 + x)]) - 127.5f) / 127.5f);
  return out;
}

TEST(GroupSketch, SeesThingsAndNotNoise) {
  const int side = 128;
  const PatchShape shape;
  std::normal_distribution<float> noise(0, 6);
  auto frame = [&](bool thing) {
    std::vector<uint8_t> g(size_t(side * side));
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x)
        g[size_t(y * side + x)] = uint8_t(std::clamp(100 + (thing && x >= 70 && x < 82 && y >= 40 && y < 52 ? 90.0f : 0.0f) + noise(rng()), 0.0f, 255.0f));
    return patches_of(g, side, shape);
  };
  std::vector<float> a = frame(false), b = frame(false), c = frame(true);
  GroupSketch sa(a.data(), 64, shape), sb(b.data(), 64, shape), sc(c.data(), 64, shape);
  ASSERT_EQ(sa.groups(), 16);
  EXPECT_TRUE(changed_groups(sa.change(sb), 4, 4).empty());
  std::vector<float> change = sa.change(sc);
  EXPECT_EQ(std::max_element(change.begin(), change.end()) - change.begin(), 6);  // the block at (64..95, 32..63)
  std::vector<int32_t> changed = changed_groups(change, 4, 4);
  EXPECT_TRUE(std::binary_search(changed.begin(), changed.end(), 6));
  EXPECT_LE(changed.size(), 9u);
  // What was looked at is no change any more.
  sa.update(sc, changed);
  EXPECT_TRUE(changed_groups(sa.change(sc), 4, 4).empty());
  // In a clip the first frame is all new, the second only where the thing is.
  std::vector<float> both = a;
  both.insert(both.end(), c.begin(), c.end());
  std::vector<float> clip = GroupSketch(both.data(), 128, shape).change_in_clip(16);
  EXPECT_EQ(clip[0], 255.0f);
  EXPECT_GT(clip[16 + 6], kChangedLevels);
  EXPECT_LT(clip[16 + 15], kChangedLevels);
}

TEST(AutomaticShare, LiesBetweenItsBounds) {
  Sparsity s = parse_sparsity("auto");
  std::vector<float> flat(100, 0.5f), rich(100, 30.0f);
  EXPECT_EQ(automatic_share({{}, flat, {}, {}}, s), 0.30);
  EXPECT_EQ(automatic_share({{}, rich, {}, {}}, s), 0.90);
  std::vector<float> half = flat;
  std::fill_n(half.begin(), 50, 30.0f);
  EXPECT_NEAR(automatic_share({{}, half, {}, {}}, s), 0.55, 1e-6);
  EXPECT_EQ(automatic_share({flat, rich, {}, {}}, s), 0.30);  // rich, and nothing moved
}

TEST(FeatureScores, SalientIsUnlikeTheMeanAndAgreementFindsTheWord) {
  const int64_t n = 20, c = 16;
  std::vector<float> x(size_t(n * c), 1.0f);
  for (int64_t j = 0; j < c; ++j) x[size_t(7 * c + j)] = j % 2 ? 3.0f : -3.0f;
  std::vector<float> s = saliency_scores(x.data(), n, c);
  EXPECT_EQ(std::max_element(s.begin(), s.end()) - s.begin(), 7);
  std::vector<float> words(static_cast<size_t>(c));
  for (int64_t j = 0; j < c; ++j) words[size_t(j)] = j % 2 ? 1.0f : -1.0f;
  std::vector<float> a = agreement_scores(x.data(), n, words.data(), 1, c);
  EXPECT_EQ(std::max_element(a.begin(), a.end()) - a.begin(), 7);
  EXPECT_EQ(agreement_scores(x.data(), n, nullptr, 0, c), std::vector<float>(size_t(n), 0.0f));
}

TEST(FrameGate, WakesFallsQuietAndRefreshes) {
  FrameGate gate({.open_share = 0.02, .close_share = 0.01, .feature_distance = 0.05, .refresh_s = 100, .quiet_frames = 3});
  std::vector<float> still(100, 1.0f), moving = still, little = still;
  std::fill_n(moving.begin(), 5, 40.0f);
  little[0] = 40;  // 1 %: between the thresholds
  EXPECT_EQ(gate.judge(still, 0), FrameVerdict::refresh);  // the first
  EXPECT_EQ(gate.judge(still, 1), FrameVerdict::reuse);
  EXPECT_EQ(gate.judge(little, 2), FrameVerdict::reuse);   // not enough to wake ...
  EXPECT_EQ(gate.judge(moving, 3), FrameVerdict::look);
  EXPECT_EQ(gate.judge(little, 4), FrameVerdict::look);    // ... but enough to stay awake
  EXPECT_EQ(gate.judge(still, 5), FrameVerdict::look);
  EXPECT_EQ(gate.judge(still, 6), FrameVerdict::look);
  EXPECT_EQ(gate.judge(still, 7), FrameVerdict::reuse);    // three calm frames
  EXPECT_EQ(gate.judge(still, 101), FrameVerdict::refresh);
  EXPECT_EQ(gate.judge(still, 102), FrameVerdict::reuse);
  EXPECT_NEAR(gate.novelty(), 0, 1e-9);
  gate.looked(0.2);  // the features moved
  EXPECT_EQ(gate.judge(still, 103), FrameVerdict::look);
  EXPECT_THROW(FrameGate({.open_share = 0.1, .close_share = 0.2}), Error);
}

TEST(BudgetController, RisesAtOnceAndFallsSlowly) {
  BudgetController c({.floor = 0.3, .ceiling = 0.9, .full_novelty = 0.1, .unsure_below = 0.6, .fall_per_frame = 0.1});
  EXPECT_EQ(c.budget(), 0.9);
  double b = 0.9;
  for (int i = 0; i < 10; ++i) {
    EXPECT_NEAR(c.next(0), b -= 0.06, 1e-9);
  }
  EXPECT_NEAR(c.next(0), 0.3, 1e-9);
  EXPECT_NEAR(c.next(0.05), 0.6, 1e-9);
  EXPECT_NEAR(c.next(0.5), 0.9, 1e-9);
  for (int i = 0; i < 20; ++i) c.next(0);
  c.answered(0.45);  // half unsure
  EXPECT_NEAR(c.next(0), 0.6, 1e-9);
  for (int i = 0; i < 20; ++i) c.next(0);
  c.outside(1.0);
  EXPECT_NEAR(c.next(0), 0.9, 1e-9);
  c.outside(std::nullopt);
  c.set({.floor = 0.1, .ceiling = 0.2});
  EXPECT_EQ(c.budget(), 0.2);
  EXPECT_THROW(c.outside(2.0), Error);
  EXPECT_THROW(BudgetController({.floor = 0.9, .ceiling = 0.3}), Error);
}

}  // namespace
}  // namespace vl8

// The worked examples of spec 7.2, and refusals.
#include "model/positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vl8 {
namespace {
using ::testing::ElementsAreArray;

std::vector<int32_t> axis(const Positions& p, int a) {
  size_t n = p.axes.size() / 3;
  return {p.axes.begin() + long(size_t(a) * n), p.axes.begin() + long(size_t(a + 1) * n)};
}

TEST(Positions, OnePicture) {
  VisualRun run{5, 2, 3};
  Positions p = prompt_positions(15, std::span(&run, 1));
  EXPECT_THAT(axis(p, 0), ElementsAreArray({0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 8, 9, 10, 11}));
  EXPECT_THAT(axis(p, 1), ElementsAreArray({0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 8, 9, 10, 11}));
  EXPECT_THAT(axis(p, 2), ElementsAreArray({0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(p.next, 12);
}

TEST(Positions, ClipOfTwoGroups) {
  std::vector<int32_t> ids(24, 1);
  for (int i = 0; i < 4; ++i) ids[size_t(6 + i)] = ids[size_t(17 + i)] = 99;
  Grid grid{2, 4, 4};
  auto runs = find_visual_runs(ids, 98, 99, {}, std::span(&grid, 1), 2);
  ASSERT_EQ(runs.size(), 2u);
  Positions p = prompt_positions(24, runs);
  EXPECT_THAT(axis(p, 0), ElementsAreArray({0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 8, 9, 10, 11, 12, 13, 14, 15, 15, 15, 15, 17, 18, 19}));
  EXPECT_THAT(axis(p, 1), ElementsAreArray({0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 16, 16, 17, 18, 19}));
  EXPECT_THAT(axis(p, 2), ElementsAreArray({0, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 15, 16, 17, 18, 19}));
  EXPECT_EQ(p.next, 20);
}

TEST(Positions, PlaceholdersMustMatch) {
  std::vector<int32_t> ids{1, 98, 98, 98, 98, 1};
  Grid four{1, 4, 4}, two{1, 2, 4};
  EXPECT_EQ(find_visual_runs(ids, 98, 99, std::span(&four, 1), {}, 2).size(), 1u);
  EXPECT_THROW(find_visual_runs(ids, 98, 99, {}, {}, 2), Error);                           // no picture
  EXPECT_THROW(find_visual_runs(ids, 98, 99, std::span(&two, 1), {}, 2), Error);           // too many placeholders
  std::vector<Grid> pair{two, two};
  EXPECT_EQ(find_visual_runs(ids, 98, 99, pair, {}, 2).size(), 2u);                        // side by side
  pair.push_back(two);
  EXPECT_THROW(find_visual_runs(ids, 98, 99, pair, {}, 2), Error);                         // one picture has none
  Grid clip{2, 2, 4};
  EXPECT_THROW(find_visual_runs(std::vector<int32_t>{99, 99}, 98, 99, {}, std::span(&clip, 1), 2), Error);  // half a clip
}

}  // namespace
}  // namespace vl8

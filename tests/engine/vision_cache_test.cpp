#include "engine/vision_cache.h"

#include <gtest/gtest.h>

namespace vl8 {
namespace {

FeaturesPtr features(int64_t rows) {
  auto owner = std::make_shared<std::vector<float>>(size_t(rows * 4));
  auto f = std::make_shared<VisionFeatures>();
  f->main = {{owner->data(), DType::f32, {rows, 4}}, owner};
  f->deepstack.push_back(f->main);
  return f;
}

TEST(VisionCache, KeepsTheMostRecentWithinItsBytes) {
  VisionCache cache(3 * 320);  // three of ten rows: 10 * 4 floats, twice
  for (uint64_t i = 1; i <= 3; ++i) cache.add({i, 0}, "", features(10));
  EXPECT_EQ(cache.bytes(), 960);
  EXPECT_TRUE(cache.find({1, 0}, ""));
  cache.add({4, 0}, "", features(10));  // the second was used the longest ago
  EXPECT_FALSE(cache.find({2, 0}, ""));
  EXPECT_TRUE(cache.find({1, 0}, ""));
  EXPECT_TRUE(cache.find({3, 0}, ""));
  cache.add({5, 0}, "", features(100));  // larger than all of it: not kept, and nobody has to go for it
  EXPECT_EQ(cache.entries(), 3);
  cache.add({4, 0}, "", features(10));  // known
  EXPECT_EQ(cache.bytes(), 960);
  EXPECT_EQ(cache.hits(), 3);
  EXPECT_EQ(cache.misses(), 1);
}

TEST(VisionCache, HashAndSaltDecide) {
  VisionCache cache(1 << 20);
  cache.add({1, 2}, "a", features(1));
  EXPECT_FALSE(cache.find({1, 2}, "b"));
  EXPECT_FALSE(cache.find({2, 1}, "a"));
  EXPECT_TRUE(cache.find({1, 2}, "a"));
  VisionCache none(0);
  none.add({1, 2}, "a", features(1));
  EXPECT_EQ(none.entries(), 0);
}

}  // namespace
}  // namespace vl8

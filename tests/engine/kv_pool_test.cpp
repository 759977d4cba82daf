#include "engine/kv_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "core/error.h"

namespace vl8 {
namespace {

TEST(KvPool, GrowsAllOrNothing) {
  KvPool pool(4, 16);
  std::vector<int32_t> a, b;
  EXPECT_TRUE(pool.grow(a, 33));
  EXPECT_EQ(a.size(), 3u);
  EXPECT_TRUE(pool.grow(a, 48));
  EXPECT_EQ(a.size(), 3u);
  EXPECT_FALSE(pool.grow(b, 17));
  EXPECT_TRUE(b.empty());
  EXPECT_TRUE(pool.grow(b, 16));
  EXPECT_EQ(pool.free_pages(), 0);
  pool.release(a);
  EXPECT_EQ(pool.free_pages(), 3);
}

TEST(KvPool, NoPageIsOwnedTwice) {
  std::mt19937 rng(std::random_device{}());
  KvPool pool(50, 4);
  std::vector<std::vector<int32_t>> tables(8);
  for (int i = 0; i < 5000; ++i) {
    auto& t = tables[rng() % tables.size()];
    if (rng() % 4 == 0) pool.release(t);
    else pool.grow(t, int64_t(t.size()) * 4 + int64_t(rng() % 20));
    std::set<int32_t> owned;
    size_t total = 0;
    for (auto& table : tables) owned.insert(table.begin(), table.end()), total += table.size();
    ASSERT_EQ(owned.size(), total);
    ASSERT_EQ(int64_t(total) + pool.free_pages(), 50);
  }
}

TEST(KvPool, KeptPagesStayUntilTheyAreNeeded) {
  KvPool pool(4, 1);
  std::vector<int32_t> evicted, a, b;
  pool.on_evict([&](int32_t p) { evicted.push_back(p); });
  ASSERT_TRUE(pool.grow(a, 3));
  const std::vector<int32_t> pages = a;
  for (int32_t p : a) pool.keep(p);
  pool.release(a);
  EXPECT_EQ(pool.free_pages(), 4);
  EXPECT_EQ(pool.idle_pages(), 3);
  pool.share(pages[2]);
  ASSERT_TRUE(pool.grow(b, 2));  // one was free; of the idle ones the second left first
  EXPECT_EQ(evicted, std::vector<int32_t>{pages[1]});
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_FALSE(pool.grow(b, 4));
  pool.share(pages[2]);
  std::vector<int32_t> c{pages[2]};
  pool.release(c);
  EXPECT_EQ(pool.users(pages[2]), 1);
  c = {pages[2]};
  pool.release(c);
  pool.release(b);
  EXPECT_EQ(pool.free_pages(), 4);
  c = {pages[2]};
  EXPECT_THROW(pool.release(c), Error);
}

}  // namespace
}  // namespace vl8

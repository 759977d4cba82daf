#include "core/threads.h"

#include <gtest/gtest.h>

#include <numeric>

namespace vl8 {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64}) {
        std::vector<int> seen(size_t(count), 0);
        pool.parallel_for(count, grain, [&](int thread, int64_t b, int64_t e) {
          ASSERT_LT(thread, threads);
          for (int64_t i = b; i < e; ++i) ++seen[size_t(i)];
        });
        EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), int64_t(0)), count);
      }
    }
  }
}

TEST(ThreadPool, ManyShortLoops) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 5000; ++i) pool.run_on_all([&](int) { sum.fetch_add(1, std::memory_order_relaxed); });
  EXPECT_EQ(sum, 15000);
}

}  // namespace
}  // namespace vl8

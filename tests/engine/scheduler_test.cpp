// The planner as pure logic: the rules one by one, then random states held against what every plan must keep.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace vl8 {
namespace {

ScheduleItem answering(uint64_t id, int64_t cached, int64_t pages) {
  return {.id = id, .arrival_s = double(id), .running = true, .prompt_tokens = cached, .tokens = cached + 1, .cached = cached, .pages = pages, .own_pages = pages};
}
ScheduleItem waiting(uint64_t id, int64_t prompt) {
  return {.id = id, .arrival_s = double(id), .prompt_tokens = prompt, .tokens = prompt};
}
StepLimits limits(int64_t free_pages, int64_t step_tokens = 64) {
  return {.step_tokens = step_tokens, .prompt_tokens = step_tokens, .max_running = 8, .page_tokens = 16, .free_pages = free_pages, .ageing_s = 10};
}
int64_t tokens_of(const StepPlan& p, size_t item) {
  for (const auto& s : p.work)
    if (s.item == item) return s.tokens;
  return 0;
}

TEST(Scheduler, AnswersComeFirstAndPromptsGetTheRest) {
  std::vector<ScheduleItem> items{answering(1, 20, 2), answering(2, 30, 2), waiting(3, 1000)};
  StepPlan p = plan_step(items, limits(100), 0);
  EXPECT_EQ(tokens_of(p, 0), 1);
  EXPECT_EQ(tokens_of(p, 1), 1);
  EXPECT_EQ(tokens_of(p, 2), 62);
  EXPECT_EQ(p.admit, std::vector<size_t>{2});
  StepLimits l = limits(100);
  l.prompt_tokens = 10;
  EXPECT_EQ(tokens_of(plan_step(items, l, 0), 2), 10);
}

TEST(Scheduler, TheLeastUrgentGivesItsPagesUp) {
  std::vector<ScheduleItem> items{answering(1, 32, 2), answering(2, 32, 2), answering(3, 32, 2)};
  StepPlan p = plan_step(items, limits(1), 0);  // each needs a page, one is free
  EXPECT_EQ(p.preempt, std::vector<size_t>{2});
  EXPECT_EQ(p.work.size(), 2u);
  items[0].priority = 1;  // now the first is the least urgent
  EXPECT_EQ(plan_step(items, limits(1), 0).preempt, std::vector<size_t>{0});
}

TEST(Scheduler, PriorityAgeingDeadline) {
  std::vector<ScheduleItem> items{waiting(1, 40), waiting(2, 40)};
  items[0].priority = 5;
  EXPECT_EQ(plan_step(items, limits(100, 40), 2).admit, std::vector<size_t>{1});
  items[0].arrival_s = -60;  // six times ageing_s before the other: six steps of priority against five
  EXPECT_EQ(plan_step(items, limits(100, 40), 2).admit, std::vector<size_t>{0});
  items = {waiting(1, 40), waiting(2, 40)};
  items[1].deadline_s = 3;
  EXPECT_EQ(plan_step(items, limits(100, 40), 2).admit, std::vector<size_t>{1});
}

TEST(Scheduler, ClientsTakeTurns) {
  std::vector<ScheduleItem> items{waiting(1, 40), waiting(2, 40), waiting(3, 40)};
  items[1].turn = 1;  // the second of the client that also sent the first
  EXPECT_EQ(plan_step(items, limits(100, 80), 5).admit, (std::vector<size_t>{0, 2}));
}

TEST(Scheduler, NobodyOvertakesOneThatDoesNotFit) {
  std::vector<ScheduleItem> items{answering(1, 20, 2), waiting(2, 400), waiting(3, 16)};
  StepPlan p = plan_step(items, limits(10), 5);
  EXPECT_TRUE(p.admit.empty());
  items[1].blocked = true;  // that one waits for a prefix, not for pages
  EXPECT_EQ(plan_step(items, limits(10), 5).admit, std::vector<size_t>{2});
}

TEST(Scheduler, AWaitingOneTakesPagesOfALowerPriorityOnly) {
  std::vector<ScheduleItem> items{answering(1, 100, 7), waiting(2, 64)};
  EXPECT_TRUE(plan_step(items, limits(1), 5).preempt.empty());
  items[0].priority = 1;
  StepPlan p = plan_step(items, limits(1, 100), 5);
  EXPECT_TRUE(p.preempt.empty());  // it answers in this very step
  items[0].tokens = 140;           // still at its prompt, but this step has no tokens left for it
  items[0].prompt_tokens = 140;
  p = plan_step(items, limits(1, 1), 5);
  EXPECT_EQ(p.work.size(), 1u);
}

TEST(Scheduler, ChunksThatAreAlwaysComputedAlike) {
  ScheduleItem i = waiting(1, 100);
  EXPECT_EQ(next_chunk(i, 64, 9), 64);
  EXPECT_EQ(next_chunk(i, 95, 9), 91);  // leaves nine
  EXPECT_EQ(next_chunk(i, 2, 9), 9);
  EXPECT_EQ(next_chunk(i, 100, 9), 100);
  i.cached = 90;
  EXPECT_EQ(next_chunk(i, 1, 9), 10);
  i.cached = 100, i.tokens = 105;
  EXPECT_EQ(next_chunk(i, 64, 9), 1);
  EXPECT_EQ(next_chunk(i, 64, 0), 5);
  EXPECT_EQ(next_chunk(waiting(1, 3), 64, 9), 3);
  std::mt19937 rng(std::random_device{}());
  for (int n = 0; n < 2000; ++n) {  // every cut of a prompt keeps the rule
    ScheduleItem item = waiting(1, 1 + int64_t(rng() % 300));
    while (item.cached < item.prompt_tokens) {
      const int64_t room = 1 + int64_t(rng() % 80), t = next_chunk(item, room, 9), rest = item.prompt_tokens - item.cached - t;
      ASSERT_TRUE(t >= 9 || item.cached == 0) << item.prompt_tokens;
      ASSERT_TRUE(t >= 9 || t == item.prompt_tokens);
      ASSERT_TRUE(rest == 0 || rest >= 9);
      ASSERT_LT(t, std::max<int64_t>(room, 9) + 9);
      item.cached += t;
    }
  }
}

TEST(Scheduler, RandomStates) {
  std::mt19937 rng(std::random_device{}());
  auto below = [&](int64_t n) { return int64_t(rng() % uint64_t(n)); };
  for (int round = 0; round < 20000; ++round) {
    StepLimits l = limits(below(30), 1 + below(64));
    l.prompt_tokens = 1 + below(64), l.max_running = 1 + below(6);
    std::vector<ScheduleItem> items;
    int64_t running = 0;
    for (int64_t n = 1 + below(10); n-- > 0;) {
      ScheduleItem i = waiting(uint64_t(items.size() + 1), 1 + below(200));
      i.priority = int32_t(below(3)), i.arrival_s = double(below(100));
      if (running < l.max_running && below(2)) {
        ++running;
        i.running = true;
        i.tokens += below(20);
        i.cached = below(3) ? i.tokens - 1 : below(i.tokens);
        i.pages = (i.cached + 15) / 16 + below(2);
        i.own_pages = i.pages - (i.pages ? below(2) : 0);
      } else if (below(4) == 0) {
        i.blocked = true;
      }
      items.push_back(i);
    }
    const StepPlan p = plan_step(items, l, 100);
    int64_t free = l.free_pages, tokens = 0;
    std::set<size_t> gone(p.preempt.begin(), p.preempt.end()), admitted(p.admit.begin(), p.admit.end()), works;
    ASSERT_EQ(gone.size(), p.preempt.size());
    for (size_t i : gone) {
      ASSERT_TRUE(items[i].running);
      free += items[i].own_pages, --running;
    }
    for (const auto& w : p.work) {
      const ScheduleItem& i = items[w.item];
      ASSERT_TRUE(works.insert(w.item).second);
      ASSERT_FALSE(gone.count(w.item));
      ASSERT_EQ(admitted.count(w.item) > 0, !i.running);
      ASSERT_FALSE(i.blocked);
      ASSERT_GE(w.tokens, 1);
      ASSERT_LE(w.tokens, i.tokens - i.cached);
      free -= std::max<int64_t>(0, (i.cached + w.tokens + 15) / 16 - i.pages);
      tokens += w.tokens;
      running += !i.running;
    }
    ASSERT_GE(free, 0);
    ASSERT_LE(tokens, l.step_tokens);
    ASSERT_LE(running, l.max_running);
    for (size_t i : admitted) ASSERT_TRUE(works.count(i));
  }
}

TEST(StepBudget, LearnsWhatAPromptTokenCosts) {
  StepBudget b(512, 100);
  EXPECT_EQ(b.prompt_tokens(0), 512);
  EXPECT_EQ(b.prompt_tokens(4), StepBudget::kLeast);  // nothing is known yet
  for (int i = 0; i < 50; ++i) b.record(4, 0, 20), b.record(4, 100, 220);
  EXPECT_NEAR(double(b.prompt_tokens(4)), 40, 4);  // (100 - 20) ms at 2 ms each
  EXPECT_EQ(b.prompt_tokens(0), 512);
  EXPECT_EQ(StepBudget(512, 0).prompt_tokens(12), 500);
}

}  // namespace
}  // namespace vl8

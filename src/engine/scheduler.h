// Who runs in the next step and how far: pure logic from plain numbers to a plan, no model, no memory, no clock of its own.
//
// Rules, in this order:
//  1. Answers that are running get their one token each, so that streams do not stall. Where no page is left for one, the
//     least urgent running request that is not in this step yet gives up its pages and computes them again later.
//  2. What is left of the step's tokens goes to prompts: first those begun, then waiting ones, by urgency. A begun prompt
//     may take the pages of less urgent requests; a waiting one only those of requests of a lower priority.
//  3. The first waiting request that does not fit ends the plan (nobody overtakes it forever); one that waits for another
//     to compute the same prefix is passed over.
// Urgency: priority (lower first) less one for each ageing_s waited, then the earlier deadline, then the client with fewer
// requests ahead of this one, then the earlier arrival.
// The most urgent request always makes progress, so every request ends.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace vl8 {

// One request as the scheduler sees it.
struct ScheduleItem {
  uint64_t id = 0;
  int32_t priority = 0;
  double arrival_s = 0;
  double deadline_s = std::numeric_limits<double>::infinity();
  int64_t turn = 0;            // earlier requests of the same client that are not finished
  bool running = false;
  bool blocked = false;        // waiting for the prefix that another one is computing
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;          // prompt and answer so far, > cached
  int64_t cached = 0;          // of these with keys and values; waiting: what the prefix cache would give
  int64_t pages = 0;           // held; waiting: what the prefix cache would give
  int64_t own_pages = 0;       // of the pages held, those that would be free if it gave them up
  int64_t idle_pages = 0;      // waiting: of `pages`, those that nobody uses and that count as free until they are taken
};

struct StepLimits {
  int64_t step_tokens = 512;   // at least 1
  int64_t prompt_tokens = 512; // of these for prompts, at least 1 (StepBudget)
  int64_t max_running = 32;
  int64_t page_tokens = 64;
  int64_t free_pages = 0;      // idle ones included
  // 0: any chunk. Else chunks of prompts have at least so many tokens (or are the whole prompt) and tokens after the
  // prompt come one a step, so that the same kernels compute them whatever else runs (invariant_model.h). A chunk may
  // exceed the limits above by less than twice this.
  int64_t least_chunk = 0;
  double ageing_s = 10;
};

struct StepPlan {
  struct Slice {
    size_t item;
    int64_t tokens;
  };
  std::vector<size_t> preempt;  // running items that give up their pages first
  std::vector<size_t> admit;    // waiting items that start
  std::vector<Slice> work;      // of running and admitted items
};

StepPlan plan_step(std::span<const ScheduleItem> items, const StepLimits& limits, double now_s);

// Tokens of the next chunk of an item when `room` (>= 1) are allowed.
int64_t next_chunk(const ScheduleItem& item, int64_t room, int64_t least);

// How many tokens of prompts a step may have so that it takes about target_ms: learned from the steps before.
class StepBudget {
 public:
  StepBudget(int64_t step_tokens, double target_ms) : step_tokens_(step_tokens), target_ms_(target_ms) {}
  void record(int64_t answers, int64_t prompt_tokens, double ms);
  int64_t prompt_tokens(int64_t answers) const;  // at least kLeast; all that the step has when no answer runs
  static constexpr int64_t kLeast = 16;

 private:
  int64_t step_tokens_;
  double target_ms_, answers_ms_ = 0, token_ms_ = 0;  // of a step with answers alone; of one prompt token
};

}  // namespace vl8

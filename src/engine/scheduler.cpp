#include "engine/scheduler.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/error.h"

namespace vl8 {
namespace {

class Planner {
 public:
  Planner(std::span<const ScheduleItem> items, const StepLimits& limits, double now_s)
      : items_(items), limits_(limits), free_(limits.free_pages), budget_(limits.step_tokens), state_(items.size(), State::idle) {
    for (size_t i = 0; i < items.size(); ++i) order_.push_back(i);
    std::vector<double> level(items.size());
    for (size_t i = 0; i < items.size(); ++i)
      level[i] = items[i].priority - (limits.ageing_s > 0 ? std::floor(std::max(0.0, now_s - items[i].arrival_s) / limits.ageing_s) : 0);
    std::sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      const ScheduleItem &x = items[a], &y = items[b];
      return std::tie(level[a], x.deadline_s, x.turn, x.arrival_s, x.id) < std::tie(level[b], y.deadline_s, y.turn, y.arrival_s, y.id);
    });
    for (const ScheduleItem& item : items) running_ += item.running;
  }

  StepPlan plan() {
    for (size_t at = 0; at < order_.size(); ++at)
      if (const ScheduleItem& item = items_[order_[at]]; item.running && item.tokens - item.cached == 1) run(at, 1);
    prompt_room_ = std::max<int64_t>(1, std::min(budget_, limits_.prompt_tokens));
    for (size_t at = 0; at < order_.size() && room() > 0; ++at)
      if (const ScheduleItem& item = items_[order_[at]]; item.running && item.tokens - item.cached > 1) run_chunk(at);
    for (size_t at = 0; at < order_.size() && room() > 0; ++at)
      if (const ScheduleItem& item = items_[order_[at]]; !item.running && !item.blocked && !admit(at)) break;
    return std::move(plan_);
  }

 private:
  enum class State : uint8_t { idle, runs, preempted };

  int64_t pages_for(int64_t tokens) const { return (tokens + limits_.page_tokens - 1) / limits_.page_tokens; }
  int64_t room() const { return std::min(budget_, prompt_room_); }

  int64_t more_pages(const ScheduleItem& item, int64_t tokens) const {
    return std::max<int64_t>(0, pages_for(item.cached + tokens) - item.pages);
  }

  // Frees pages of running items less urgent than the one at `at`, the least urgent first, until `pages` are free.
  bool make_room(size_t at, int64_t pages) {
    for (size_t victim = order_.size(); free_ < pages && victim-- > at + 1;) {
      const size_t v = order_[victim];
      if (items_[v].running && state_[v] == State::idle) preempt(v);
    }
    return free_ >= pages;
  }

  void preempt(size_t i) {
    state_[i] = State::preempted;
    free_ += items_[i].own_pages;
    --running_;
    plan_.preempt.push_back(i);
  }

  void take(size_t i, int64_t tokens, int64_t pages) {
    state_[i] = State::runs;
    free_ -= pages;
    budget_ -= tokens;
    plan_.work.push_back({i, tokens});
  }

  // An answer's next token. The least urgent one gives way itself where nobody else can.
  void run(size_t at, int64_t tokens) {
    const size_t i = order_[at];
    if (state_[i] == State::preempted) return;
    if (budget_ <= 0) return;
    const int64_t pages = more_pages(items_[i], tokens);
    if (make_room(at, pages)) take(i, tokens, pages);
    else preempt(i);
  }

  // Of a begun prompt, as much as fits. It keeps its pages when even the least does not.
  void run_chunk(size_t at) {
    const size_t i = order_[at];
    if (state_[i] == State::preempted) return;
    const int64_t tokens = next_chunk(items_[i], room(), limits_.least_chunk), pages = more_pages(items_[i], tokens);
    if (!make_room(at, pages)) return;
    prompt_room_ -= tokens;
    take(i, tokens, pages);
  }

  // A waiting request starts when its whole prompt fits beside one more page for every running one. Alone it needs no
  // more than its prompt: what it grows into was held against the whole pool when it was taken in.
  bool admit(size_t at) {
    const size_t i = order_[at];
    const ScheduleItem& item = items_[i];
    // Pages from the prefix cache cost what is counted as free: idle ones, and all once somebody was preempted, because
    // that one's pages were added to the free ones and may be the same.
    auto shared = [&](bool preempts) { return preempts ? item.pages : item.idle_pages; };
    auto fits = [&](int64_t free, int64_t running, bool preempts) {
      return running < limits_.max_running && free >= more_pages(item, item.tokens - item.cached) + shared(preempts) + running;
    };
    auto yields = [&](size_t v) { return items_[v].running && state_[v] == State::idle && items_[v].priority > item.priority; };
    if (!fits(free_, running_, !plan_.preempt.empty())) {
      if (!plan_.admit.empty()) return false;  // those admitted in this plan may count on pages of whoever would be preempted
      int64_t could_free = free_, could_run = running_;
      for (size_t v : order_)
        if (yields(v)) could_free += items_[v].own_pages, --could_run;
      if (!fits(could_free, could_run, true)) return false;
      for (size_t victim = order_.size(); !fits(free_, running_, true) && victim-- > 0;)
        if (yields(order_[victim])) preempt(order_[victim]);
    }
    const int64_t tokens = next_chunk(item, room(), limits_.least_chunk), pages = more_pages(item, tokens) + shared(!plan_.preempt.empty());
    ++running_;
    plan_.admit.push_back(i);
    prompt_room_ -= tokens;
    take(i, tokens, pages);
    return true;
  }

  std::span<const ScheduleItem> items_;
  const StepLimits& limits_;
  int64_t free_, budget_, prompt_room_ = 0, running_ = 0;
  std::vector<State> state_;
  std::vector<size_t> order_;  // most urgent first
  StepPlan plan_;
};

}  // namespace

int64_t next_chunk(const ScheduleItem& item, int64_t room, int64_t least) {
  const int64_t pending = item.tokens - item.cached;
  if (least <= 0) return std::min(pending, room);
  const int64_t rest = item.prompt_tokens - item.cached, chunk = std::max(room, least);
  if (rest <= 0) return 1;
  if (rest <= chunk || rest < 2 * least) return rest;
  return std::min(chunk, rest - least);
}

StepPlan plan_step(std::span<const ScheduleItem> items, const StepLimits& limits, double now_s) {
  check(limits.step_tokens > 0 && limits.page_tokens > 0 && limits.max_running > 0, "a step of {} tokens, {} sequences, pages of {}",
        limits.step_tokens, limits.max_running, limits.page_tokens);
  return Planner(items, limits, now_s).plan();
}

void StepBudget::record(int64_t answers, int64_t prompt_tokens, double ms) {
  constexpr double kNew = 0.2;  // weight of the newest step
  auto learn = [](double& value, double seen) { value = value == 0 ? seen : value + kNew * (seen - value); };
  if (prompt_tokens == 0) {
    if (answers > 0) learn(answers_ms_, ms);
  } else {
    learn(token_ms_, std::max(1e-6, ms - (answers > 0 ? answers_ms_ : 0)) / double(prompt_tokens));
  }
}

int64_t StepBudget::prompt_tokens(int64_t answers) const {
  const int64_t most = std::max<int64_t>(1, step_tokens_ - answers);
  if (answers == 0 || target_ms_ <= 0) return most;
  if (token_ms_ == 0) return std::min(most, kLeast);
  const double tokens = (target_ms_ - answers_ms_) / token_ms_;
  return std::clamp(int64_t(std::max(0.0, std::min(tokens, 1e9))), std::min(most, kLeast), most);
}

}  // namespace vl8

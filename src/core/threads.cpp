#include "core/threads.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "core/error.h"

namespace vl8 {
namespace {
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
constexpr int kSpins = 4000;  // about 50 microseconds of pause instructions: longer than the gap between two kernels
}  // namespace

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = available_cpus();
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (auto& w : workers_) w.join();
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    int spins = 0;
    uint32_t now;
    while ((now = epoch_.load(std::memory_order_acquire)) == seen) {
      if (++spins < kSpins) relax();
      else epoch_.wait(seen, std::memory_order_acquire);
    }
    seen = now;
    if (stop_.load(std::memory_order_acquire)) return;
    (*job_)(thread);
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }
}

void ThreadPool::run_on_all(const std::function<void(int)>& f) {
  if (workers_.empty()) return f(0);
  check(pending_.load() == 0, "parallel loops do not nest");
  job_ = &f;
  pending_.store(int(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  f(0);
  int spins = 0, left;
  while ((left = pending_.load(std::memory_order_acquire)) != 0) {
    if (++spins < kSpins) relax();
    else pending_.wait(left, std::memory_order_acquire);
  }
}

void ThreadPool::parallel_for(int64_t count, int64_t grain, const Body& f) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  if (workers_.empty() || count <= grain) return f(0, 0, count);
  next_.store(0, std::memory_order_relaxed);
  run_on_all([&](int thread) {
    for (;;) {
      int64_t begin = next_.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      f(thread, begin, std::min(count, begin + grain));
    }
  });
}

}  // namespace vl8

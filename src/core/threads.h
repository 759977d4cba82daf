// A fixed pool of workers for data-parallel loops. Workers spin for a few microseconds between loops (a decode
// step has hundreds of them) and then sleep on a futex. One caller at a time; loops do not nest.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace vl8 {

class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0: as many as this process may run on
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(workers_.size()) + 1; }

  // Calls f(thread, begin, end) on disjoint ranges that cover 0..count. Ranges are handed out in pieces of
  // `grain`, so that an uneven load evens out. `thread` is 0..size()-1. f must not throw.
  using Body = std::function<void(int thread, int64_t begin, int64_t end)>;
  void parallel_for(int64_t count, int64_t grain, const Body& f);

  // Calls f(thread) once on every thread.
  void run_on_all(const std::function<void(int thread)>& f);

 private:
  void work(int thread);
  std::vector<std::thread> workers_;
  const std::function<void(int)>* job_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<int> pending_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  std::atomic<bool> stop_{false};
};

int available_cpus();  // what the scheduler lets this process use, not what the machine has

}  // namespace vl8

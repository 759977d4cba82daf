// Threads for work that takes milliseconds: parsing, tokenising, pictures. The queue is bounded: a full one is the caller's
// fault to report.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vl8 {

class WorkerPool {
 public:
  WorkerPool(int threads, size_t queue);
  ~WorkerPool();  // finishes what has begun, drops the rest

  // False: the queue is full. job must not throw.
  bool submit(std::function<void()> job);
  size_t waiting() const;

 private:
  void work();
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  size_t limit_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace vl8

// A progress line on stderr for work that takes longer than a second: percent, rate, time left. On a terminal it
// is rewritten in place; elsewhere a line every ten seconds. Quiet for short work.
#pragma once
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace vl8 {

class Progress {
 public:
  // `unit` "B" prints MB and MB/s; anything else prints plain counts ("tensors", "items").
  Progress(std::string what, int64_t total, std::string unit, bool enabled = true);
  ~Progress();
  void advance(int64_t amount);  // from any thread

 private:
  void print(bool last);
  using Clock = std::chrono::steady_clock;
  std::string what_, unit_;
  int64_t total_, done_ = 0;
  bool enabled_, terminal_, printed_ = false;
  Clock::time_point start_, last_;
  std::mutex mutex_;
};

}  // namespace vl8

#include "core/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace vl8 {
using namespace std::chrono_literals;

Progress::Progress(std::string what, int64_t total, std::string unit, bool enabled)
    : what_(std::move(what)), unit_(std::move(unit)), total_(std::max<int64_t>(total, 1)), enabled_(enabled),
      terminal_(isatty(2)), start_(Clock::now()), last_(start_) {}

Progress::~Progress() {
  if (printed_) print(true);
}

void Progress::advance(int64_t amount) {
  std::lock_guard lock(mutex_);
  done_ += amount;
  auto now = Clock::now();
  if (!enabled_ || now - start_ < 1s || now - last_ < (terminal_ ? 100ms : 10000ms)) return;
  last_ = now;
  print(false);
}

void Progress::print(bool last) {
  double seconds = std::max(1e-3, std::chrono::duration<double>(Clock::now() - start_).count());
  double share = std::min(1.0, double(done_) / double(total_));
  bool bytes = unit_ == "B";
  double scale = bytes ? 1e-6 : 1;
  double left = share > 0 ? seconds * (1 - share) / share : 0;
  fmt::print(stderr, "{}{} {:3.0f} %  {:.0f}/{:.0f} {}  {:.0f} {}/s  {}{}", terminal_ ? "\r\033[K" : "", what_, share * 100,
             double(done_) * scale, double(total_) * scale, bytes ? "MB" : unit_, double(done_) * scale / seconds,
             bytes ? "MB" : unit_, last ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.0f} s left", left),
             terminal_ && !last ? "" : "\n");
  std::fflush(stderr);
  printed_ = true;
}

}  // namespace vl8

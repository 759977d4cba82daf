// What this process has used.
#pragma once
#include <sys/resource.h>

namespace vl8 {

// The most memory that was resident at once, mapped files included.
inline double peak_rss_mb() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return double(u.ru_maxrss) / 1024;
}

}  // namespace vl8

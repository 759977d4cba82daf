// The patch grid of a picture (t = 1) or clip: frame groups, patch rows, patch columns. `grid_thw` of the reference.
#pragma once
#include <cstdint>

namespace vl8 {

struct Grid {
  int64_t t = 0, h = 0, w = 0;
  int64_t patches() const { return t * h * w; }
  int64_t tokens(int64_t merge) const { return t * h * w / (merge * merge); }
  bool operator==(const Grid&) const = default;
};

}  // namespace vl8

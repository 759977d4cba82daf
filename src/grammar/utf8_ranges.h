// Intervals of code points as sequences of byte ranges (the construction of Thompson's and Cox's regular expression engines).
#pragma once
#include <cstdint>
#include <vector>

#include "grammar/code_points.h"

namespace vl8 {

struct ByteRange {
  uint8_t first, last;
  auto operator<=>(const ByteRange&) const = default;
};
using ByteRanges = std::vector<ByteRange>;  // one range for each byte of an encoding: any combination is meant

std::vector<ByteRanges> utf8_ranges(const CodePoints& set);

}  // namespace vl8

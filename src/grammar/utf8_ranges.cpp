#include "grammar/utf8_ranges.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace vl8 {
namespace {

// Of encodings of equal length: splits where the ranges of the trailing bytes are not full.
void split(char32_t first, char32_t last, int bytes, std::vector<ByteRanges>& out) {
  for (int i = 1; i < bytes; ++i) {
    const char32_t low_bits = (char32_t(1) << (6 * i)) - 1;
    if ((first & ~low_bits) == (last & ~low_bits)) continue;
    if (first & low_bits) {
      split(first, first | low_bits, bytes, out);
      return split((first | low_bits) + 1, last, bytes, out);
    }
    if ((last & low_bits) != low_bits) {
      split(first, (last & ~low_bits) - 1, bytes, out);
      return split(last & ~low_bits, last, bytes, out);
    }
  }
  std::string a, b;
  append_utf8(a, first);
  append_utf8(b, last);
  ByteRanges r;
  for (size_t i = 0; i < a.size(); ++i) r.push_back({uint8_t(a[i]), uint8_t(b[i])});
  out.push_back(std::move(r));
}

}  // namespace

std::vector<ByteRanges> utf8_ranges(const CodePoints& set) {
  constexpr char32_t kLastOfLength[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
  std::vector<ByteRanges> out;
  for (auto [a, b] : set.intervals())
    for (int n = 1; n <= 4 && a <= b; ++n) {
      if (a > kLastOfLength[n - 1]) continue;
      const char32_t end = std::min(b, kLastOfLength[n - 1]);
      split(a, end, n, out);
      a = end + 1;
    }
  return out;
}

}  // namespace vl8

#include "server/box_rewriter.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace vl8 {
namespace {

// Longest mark that is waited for: a key and four numbers with generous white space.
constexpr size_t kLongest = 160;
constexpr std::string_view kKeys[] = {"\"bbox_2d\"", "\"bbox\"", "\"box_2d\"", "\"box\"", "\"point_2d\"", "\"point\""};

enum class MarkMatch : uint8_t { yes, no, more };

struct Found {
  MarkMatch match = MarkMatch::no;
  size_t numbers_begin = 0, end = 0;  // of "[" + 1 and behind "]"
  std::vector<double> numbers;
};

MarkMatch key_at(std::string_view s, size_t& pos) {
  MarkMatch best = MarkMatch::no;
  for (std::string_view key : kKeys) {
    if (s.starts_with(key)) {
      pos = key.size();
      return MarkMatch::yes;
    }
    if (key.starts_with(s)) best = MarkMatch::more;
  }
  return best;
}

// A mark at the beginning of s, as far as can be told.
Found mark_at(std::string_view s) {
  Found f;
  size_t pos = 0;
  if (f.match = key_at(s, pos); f.match != MarkMatch::yes) return f;
  auto next = [&](char c) {
    pos = s.find_first_not_of(" \t\r\n", pos);
    if (pos == std::string_view::npos) return MarkMatch::more;
    return s[pos] == c ? (++pos, MarkMatch::yes) : MarkMatch::no;
  };
  for (char c : {':', '['})
    if (f.match = next(c); f.match != MarkMatch::yes) return f;
  f.numbers_begin = pos;
  const size_t close = s.find(']', pos);
  if (close == std::string_view::npos) {
    f.match = s.size() < kLongest ? MarkMatch::more : MarkMatch::no;
    return f;
  }
  std::string list(s.substr(pos, close - pos));
  for (const char* p = list.c_str(); *p;) {
    char* end = nullptr;
    f.numbers.push_back(std::strtod(p, &end));
    if (end == p || !std::isfinite(f.numbers.back())) return {};
    p = end + std::strspn(end, " \t\r\n");
    if (*p == ',') ++p;
    else if (*p) return {};
  }
  f.end = close;
  if (f.numbers.size() != 4 && f.numbers.size() != 2) f.match = MarkMatch::no;
  return f;
}

}  // namespace

std::string BoxRewriter::take(bool last) {
  std::string out;
  size_t pos = 0;
  while (pos < held_.size()) {
    const size_t quote = held_.find('"', pos);
    out += std::string_view(held_).substr(pos, quote == std::string::npos ? quote : quote - pos);
    if (quote == std::string::npos) {
      pos = held_.size();
      break;
    }
    pos = quote;
    const std::string_view rest = std::string_view(held_).substr(quote);
    const Found f = mark_at(rest);
    if (f.match == MarkMatch::more && !last && rest.size() < kLongest) break;
    if (f.match != MarkMatch::yes) {
      out += '"';
      ++pos;
      continue;
    }
    out += rest.substr(0, f.numbers_begin);
    Mark m{f.numbers.size() == 2, f.numbers[0], f.numbers[1], f.numbers.size() == 4 ? f.numbers[2] : f.numbers[0],
           f.numbers.size() == 4 ? f.numbers[3] : f.numbers[1], {}};
    m = square_to_pixels(m, picture_);
    out += fmt::format("{}, {}", std::lround(m.x1), std::lround(m.y1));
    if (!m.is_point) out += fmt::format(", {}, {}", std::lround(m.x2), std::lround(m.y2));
    pos += f.end;
  }
  held_.erase(0, pos);
  return out;
}

std::string BoxRewriter::push(std::string_view text) {
  held_ += text;
  return take(false);
}

std::string BoxRewriter::finish() { return take(true); }

}  // namespace vl8

// Sets of code points as sorted, disjoint, non-adjacent intervals. Surrogates (U+D800..U+DFFF) are never members: text is UTF-8.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace vl8 {

class CodePoints {
 public:
  using Interval = std::pair<char32_t, char32_t>;  // both ends included
  CodePoints() = default;
  static CodePoints of(std::vector<Interval> intervals);  // any order, may overlap
  static CodePoints one(char32_t c) { return of({{c, c}}); }
  static CodePoints range(char32_t first, char32_t last) { return of({{first, last}}); }
  static const CodePoints& all();

  bool empty() const { return intervals_.empty(); }
  bool contains(char32_t c) const;
  bool includes(const CodePoints& other) const;
  const std::vector<Interval>& intervals() const { return intervals_; }

  CodePoints operator|(const CodePoints& other) const;
  CodePoints operator&(const CodePoints& other) const;
  CodePoints operator~() const;
  bool operator==(const CodePoints&) const = default;

  // ECMA-262 classes by their letter: d D w W s S. Unicode properties by name: general categories ("L", "Lu", "Letter", ...),
  // "Any", "ASCII", "Alphabetic", "White_Space" and a few scripts. Empty for an unknown name.
  static CodePoints escape_class(char letter);
  static CodePoints property(std::string_view name);

 private:
  std::vector<Interval> intervals_;
};

}  // namespace vl8

#include "grammar/code_points.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <functional>

#include "text/unicode.h"

namespace vl8 {
namespace {

constexpr char32_t kLast = 0x10FFFF;

CodePoints where(const std::function<bool(char32_t)>& member) {
  std::vector<CodePoints::Interval> out;
  for (char32_t c = 0; c <= kLast; ++c) {
    if (!member(c)) continue;
    if (!out.empty() && out.back().second + 1 == c)
      out.back().second = c;
    else
      out.emplace_back(c, c);
  }
  return CodePoints::of(std::move(out));
}

// General categories in the order of utf8proc_category_t, each with its long name.
struct Category {
  std::string_view abbreviation, name;
};
constexpr std::array<Category, 30> kCategories = {{
    {"Cn", "Unassigned"}, {"Lu", "Uppercase_Letter"}, {"Ll", "Lowercase_Letter"}, {"Lt", "Titlecase_Letter"},
    {"Lm", "Modifier_Letter"}, {"Lo", "Other_Letter"}, {"Mn", "Nonspacing_Mark"}, {"Mc", "Spacing_Mark"},
    {"Me", "Enclosing_Mark"}, {"Nd", "Decimal_Number"}, {"Nl", "Letter_Number"}, {"No", "Other_Number"},
    {"Pc", "Connector_Punctuation"}, {"Pd", "Dash_Punctuation"}, {"Ps", "Open_Punctuation"}, {"Pe", "Close_Punctuation"},
    {"Pi", "Initial_Punctuation"}, {"Pf", "Final_Punctuation"}, {"Po", "Other_Punctuation"}, {"Sm", "Math_Symbol"},
    {"Sc", "Currency_Symbol"}, {"Sk", "Modifier_Symbol"}, {"So", "Other_Symbol"}, {"Zs", "Space_Separator"},
    {"Zl", "Line_Separator"}, {"Zp", "Paragraph_Separator"}, {"Cc", "Control"}, {"Cf", "Format"}, {"Cs", "Surrogate"},
    {"Co", "Private_Use"},
}};
struct Group {
  char letter;
  std::string_view name;
};
constexpr std::array<Group, 7> kGroups = {{{'L', "Letter"}, {'M', "Mark"}, {'N', "Number"}, {'P', "Punctuation"},
                                           {'S', "Symbol"}, {'Z', "Separator"}, {'C', "Other"}}};

// Blocks that stand in for the script properties people use to say "a word in this writing" (Unicode 16, Scripts.txt, main ranges).
struct Script {
  std::string_view name;
  std::array<CodePoints::Interval, 6> ranges;
};
constexpr std::array<Script, 5> kScripts = {{
    {"Han", {{{0x2E80, 0x2FD5}, {0x3005, 0x3007}, {0x3021, 0x3029}, {0x3400, 0x4DBF}, {0x4E00, 0x9FFF}, {0x20000, 0x323AF}}}},
    {"Hiragana", {{{0x3041, 0x3096}, {0x309D, 0x309F}}}},
    {"Katakana", {{{0x30A1, 0x30FA}, {0x30FD, 0x30FF}, {0x31F0, 0x31FF}, {0xFF66, 0xFF6F}, {0xFF71, 0xFF9D}}}},
    {"Cyrillic", {{{0x0400, 0x0484}, {0x0487, 0x052F}, {0x1C80, 0x1C8A}, {0xA640, 0xA69F}}}},
    {"Greek", {{{0x0370, 0x0373}, {0x0375, 0x0377}, {0x037A, 0x037D}, {0x037F, 0x0384}, {0x0386, 0x03E1}, {0x1F00, 0x1FFE}}}},
}};

}  // namespace

CodePoints CodePoints::of(std::vector<Interval> in) {
  std::sort(in.begin(), in.end());
  CodePoints out;
  auto add = [&](char32_t a, char32_t b) {
    if (a > b) return;
    auto& v = out.intervals_;
    if (!v.empty() && a <= v.back().second + 1)
      v.back().second = std::max(v.back().second, b);
    else
      v.emplace_back(a, b);
  };
  for (auto [a, b] : in) {
    b = std::min(b, kLast);
    add(a, std::min<char32_t>(b, 0xD7FF));
    add(std::max<char32_t>(a, 0xE000), b);
  }
  return out;
}

const CodePoints& CodePoints::all() {
  static const CodePoints everything = range(0, kLast);
  return everything;
}

bool CodePoints::contains(char32_t c) const {
  auto it = std::upper_bound(intervals_.begin(), intervals_.end(), Interval{c, 0x7FFFFFFF});
  return it != intervals_.begin() && std::prev(it)->second >= c;
}

bool CodePoints::includes(const CodePoints& other) const { return (*this & other) == other; }

CodePoints CodePoints::operator|(const CodePoints& other) const {
  std::vector<Interval> both = intervals_;
  both.insert(both.end(), other.intervals_.begin(), other.intervals_.end());
  return of(std::move(both));
}

CodePoints CodePoints::operator&(const CodePoints& other) const {
  CodePoints out;
  for (size_t i = 0, j = 0; i < intervals_.size() && j < other.intervals_.size();) {
    auto [a, b] = intervals_[i];
    auto [c, d] = other.intervals_[j];
    if (std::max(a, c) <= std::min(b, d)) out.intervals_.emplace_back(std::max(a, c), std::min(b, d));
    b < d ? ++i : ++j;
  }
  return out;
}

CodePoints CodePoints::operator~() const {
  std::vector<Interval> gaps;
  char32_t next = 0;
  for (auto [a, b] : intervals_) {
    if (a > next) gaps.emplace_back(next, a - 1);
    next = b + 1;
  }
  if (next <= kLast) gaps.emplace_back(next, kLast);
  return of(std::move(gaps));
}

CodePoints CodePoints::escape_class(char letter) {
  switch (letter) {
    case 'd': return range('0', '9');
    case 'w': return of({{'a', 'z'}, {'A', 'Z'}, {'0', '9'}, {'_', '_'}});
    case 's':  // WhiteSpace and LineTerminator of ECMA-262, sections 12.2 and 12.3
      return of({{9, 13}, {32, 32}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                 {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}});
    case 'D': return ~escape_class('d');
    case 'W': return ~escape_class('w');
    case 'S': return ~escape_class('s');
    default: return {};
  }
}

CodePoints CodePoints::property(std::string_view name) {
  if (name == "Any") return all();
  if (name == "ASCII") return range(0, 0x7F);
  if (name == "White_Space") return where([](char32_t c) { return UnicodeTable::get().char_class(c) == CharClass::space; });
  if (name == "Alphabetic") return property("L") | property("Nl");
  if (size_t equals = name.find('='); equals != std::string_view::npos) return property(name.substr(equals + 1));
  for (const Script& s : kScripts)
    if (s.name == name) {
      std::vector<Interval> ranges;
      for (auto r : s.ranges)
        if (r.second) ranges.push_back(r);
      return of(std::move(ranges));
    }
  uint32_t wanted = 0;
  for (size_t i = 0; i < kCategories.size(); ++i)
    if (kCategories[i].abbreviation == name || kCategories[i].name == name) wanted |= 1u << i;
  for (const Group& g : kGroups)
    if (g.name == name || name == std::string_view(&g.letter, 1))
      for (size_t i = 0; i < kCategories.size(); ++i)
        if (kCategories[i].abbreviation[0] == g.letter) wanted |= 1u << i;
  if (!wanted) return {};
  return where([&](char32_t c) { return wanted >> utf8proc_category(int32_t(c)) & 1; });
}

}  // namespace vl8

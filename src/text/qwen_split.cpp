// kQwenPattern by hand. Its alternatives are tried in order at each position:
//   1 contraction   (?i:'s|'t|'re|'ve|'m|'ll|'d)
//   2 word          [^\r\n\p{L}\p{N}]?\p{L}+
//   3 one number    \p{N}
//   4 symbols       ` ?[^\s\p{L}\p{N}]+[\r\n]*`
//   5 line ends     \s*[\r\n]+
//   6 inner blanks  \s+(?!\S)
//   7 blanks        \s+
// so a piece is decided by its first character, and the second where the first may lead a word or symbols.
#include <array>

#include "text/splitter.h"
#include "text/utf8.h"

namespace vl8 {

const std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {
constexpr std::array<CharClass, 128> kAscii = [] {
  std::array<CharClass, 128> a{};
  for (int c = 0; c < 128; ++c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool space = c == ' ' || (c >= 9 && c <= 13);
    a[size_t(c)] = letter                 ? CharClass::letter
                   : c >= '0' && c <= '9' ? CharClass::number
                   : space                ? CharClass::space
                                          : CharClass::other;
  }
  return a;
}();

struct Char {
  CharClass kind;
  uint32_t bytes;
};

Char read(const UnicodeTable& table, const char* p) {
  if (uint8_t(*p) < 0x80) [[likely]]
    return {kAscii[uint8_t(*p)], 1};
  CodePoint c = decode_valid(p);
  return {table.char_class(c.value), c.bytes};
}

const char* skip(const UnicodeTable& table, CharClass kind, const char* p, const char* end) {
  while (p < end) {
    Char c = read(table, p);
    if (c.kind != kind) break;
    p += c.bytes;
  }
  return p;
}

bool line_end(char c) {
  return c == '\r' || c == '\n';
}

// Alternative 1: length of the contraction at p (an apostrophe), or 0. Case folding also maps U+017F to s.
int contraction(const char* p, const char* end) {
  auto lower = [&](int i) { return p + i < end ? char(p[i] | 0x20) : '\0'; };
  char a = lower(1);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' || a == 'v') && lower(2) == 'e') return 3;
  if (a == 'l' && lower(2) == 'l') return 3;
  return end - p >= 3 && p[1] == '\xC5' && p[2] == '\xBF' ? 3 : 0;
}

// Alternatives 5 to 7: `p` is white space and no word or symbols take it.
const char* blanks(const UnicodeTable& table, const char* p, const char* end) {
  const char* last_line_end = nullptr;
  const char* last = p;  // the last character of the run
  const char* q = p;
  while (q < end) {
    Char c = read(table, q);
    if (c.kind != CharClass::space) break;
    if (line_end(*q)) last_line_end = q;
    last = q;
    q += c.bytes;
  }
  if (last_line_end) return last_line_end + 1;
  return q == end || last == p ? q : last;
}
}  // namespace

const char* qwen_piece_end(const UnicodeTable& table, const char* p, const char* end) {
  Char first = read(table, p);
  const char* second = p + first.bytes;
  if (first.kind == CharClass::letter) return skip(table, CharClass::letter, second, end);
  if (first.kind == CharClass::number) return second;
  if (*p == '\'')
    if (int n = contraction(p, end)) return p + n;
  Char next = second < end ? read(table, second) : Char{CharClass::space, 0};
  if (next.kind == CharClass::letter && !line_end(*p))
    return skip(table, CharClass::letter, second + next.bytes, end);
  bool symbols = first.kind == CharClass::other || (*p == ' ' && next.kind == CharClass::other);
  if (!symbols) return blanks(table, p, end);
  const char* q = skip(table, CharClass::other, second, end);
  while (q < end && line_end(*q)) ++q;
  return q;
}

}  // namespace vl8

#include "text/utf8.h"
#include "tiny_tokenizer.h"

namespace vl8::testing {
namespace {
struct Range {
  char32_t first, last;
};
// Letters with and without case, digits of several scripts, marks that reorder and compose, jamo, blanks,
// symbols.
constexpr Range kRanges[] = {
    {'a', 'z'},       {'A', 'Z'},         {'0', '9'},         {'!', '/'},         {0x00A0, 0x00FF},
    {0x0100, 0x024F}, {0x0300, 0x036F},   {0x0370, 0x03FF},   {0x0400, 0x04FF},   {0x0590, 0x05F4},
    {0x0610, 0x0669}, {0x0900, 0x097F},   {0x0980, 0x09FE},   {0x0E01, 0x0E5B},   {0x0F71, 0x0F84},
    {0x1100, 0x11FF}, {0x1E00, 0x1EFF},   {0x1F00, 0x1FFF},   {0x2000, 0x206F},   {0x2126, 0x2188},
    {0x3000, 0x30FF}, {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},   {0xF900, 0xFAD9},   {0xFB1D, 0xFB4F},
    {0xFF00, 0xFFEF}, {0x1D15E, 0x1D1C0}, {0x1F300, 0x1F64F}, {0x20000, 0x20100}, {0x10FFFD, 0x10FFFF}};
constexpr char32_t kBlanks[] = {' ',  ' ',  ' ',  '\n',   '\n',   '\r',   '\t',
                                0x0B, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x3000};
constexpr const char* kWords[] = {"'s",       "'LL",  "'re",        "'\xC5\xBF",
                                  "don't",    "I'VE", "<|im_end|>", "<think>",
                                  "\r\n\r\n", "   ",  "e\xCC\x81",  "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"};
}  // namespace

std::string random_text(std::mt19937& random, size_t characters) {
  std::string out;
  for (size_t n = 0; n < characters;) {
    size_t run = 1 + random() % (random() % 8 == 0 ? 40 : 4);
    size_t kind = random() % 10;
    const Range& range = kRanges[random() % std::size(kRanges)];
    for (; run-- > 0 && n < characters; ++n) {
      if (kind < 6)
        append_utf8(out, range.first + char32_t(random() % (range.last - range.first + 1)));
      else if (kind < 8)
        append_utf8(out, kBlanks[random() % std::size(kBlanks)]);
      else
        out += kWords[random() % std::size(kWords)];
    }
  }
  return out;
}

}  // namespace vl8::testing

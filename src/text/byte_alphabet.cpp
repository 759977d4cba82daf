#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace vl8 {
namespace {
constexpr bool stands_for_itself(int b) {
  return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
}
constexpr int kMoved = 68;
constexpr int kLimit = 0x100 + kMoved;

constexpr std::array<int16_t, kLimit> kByteOfLetter = [] {
  std::array<int16_t, kLimit> table{};
  for (auto& t : table) t = -1;
  int moved = 0;
  for (int b = 0; b < 256; ++b) table[size_t(stands_for_itself(b) ? b : 0x100 + moved++)] = int16_t(b);
  return table;
}();
}  // namespace

bool append_bytes_of(std::string_view written, std::string& out) {
  size_t was = out.size();
  for (const char *p = written.data(), *end = p + written.size(); p < end;) {
    CodePoint c = decode_valid(p);
    p += c.bytes;
    int byte = c.value < char32_t(kLimit) ? kByteOfLetter[c.value] : -1;
    if (byte < 0) {
      out.resize(was);
      return false;
    }
    out.push_back(char(byte));
  }
  return true;
}

std::string written_byte(unsigned char byte) {
  std::string out;
  for (int letter = 0; letter < kLimit; ++letter)
    if (kByteOfLetter[size_t(letter)] == byte) append_utf8(out, char32_t(letter));
  return out;
}

}  // namespace vl8

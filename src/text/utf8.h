// UTF-8 by code point. `decode_valid` trusts its input (check with is_valid_utf8 or to_valid_utf8 first); the
// others take any bytes and follow the rule of maximal ill-formed parts (Unicode 15, section 3.9, table 3-8).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace vl8 {

struct CodePoint {
  char32_t value;
  uint32_t bytes;  // of its encoding, 1..4
};

// The code point at p, which is the first byte of a well-formed sequence.
inline CodePoint decode_valid(const char* p) {
  auto b = [p](int i) { return char32_t(uint8_t(p[i])); };
  if (b(0) < 0x80) return {b(0), 1};
  if (b(0) < 0xE0) return {(b(0) & 0x1F) << 6 | (b(1) & 0x3F), 2};
  if (b(0) < 0xF0) return {(b(0) & 0x0F) << 12 | (b(1) & 0x3F) << 6 | (b(2) & 0x3F), 3};
  return {(b(0) & 0x07) << 18 | (b(1) & 0x3F) << 12 | (b(2) & 0x3F) << 6 | (b(3) & 0x3F), 4};
}

// The code point that ends before p; the text before p is well-formed and not empty.
inline CodePoint decode_valid_before(const char* p) {
  const char* q = p - 1;
  while ((uint8_t(*q) & 0xC0) == 0x80) --q;
  return decode_valid(q);
}

void append_utf8(std::string& out, char32_t code_point);

enum class Utf8Part { valid, invalid, incomplete };  // incomplete: well-formed so far, but the text ends
struct Utf8Step {
  Utf8Part part;
  uint32_t bytes;  // of the character, or of the maximal ill-formed part; at least 1
};
Utf8Step utf8_step(std::string_view text);  // looks at the beginning of a non-empty text

bool is_valid_utf8(std::string_view text);
std::string to_valid_utf8(std::string_view text);  // each ill-formed part becomes U+FFFD
size_t count_code_points(std::string_view valid_text);

}  // namespace vl8

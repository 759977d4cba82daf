#include "text/utf8.h"

#include <simdjson.h>

namespace vl8 {
namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
}

void append_utf8(std::string& out, char32_t c) {
  auto put = [&out](char32_t byte) { out.push_back(char(uint8_t(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

Utf8Step utf8_step(std::string_view text) {
  uint8_t first = uint8_t(text[0]);
  if (first < 0x80) return {Utf8Part::valid, 1};
  if (first < 0xC2 || first > 0xF4) return {Utf8Part::invalid, 1};
  uint32_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // The second byte rules out overlong forms, surrogates and values above U+10FFFF.
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (uint32_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8Part::incomplete, i};
    uint8_t byte = uint8_t(text[i]);
    if (byte < low || byte > high) return {Utf8Part::invalid, i};
    low = 0x80, high = 0xBF;
  }
  return {Utf8Part::valid, length};
}

bool is_valid_utf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    Utf8Step step = utf8_step(text);
    out += step.part == Utf8Part::valid ? text.substr(0, step.bytes) : kReplacement;
    text.remove_prefix(step.bytes);
  }
  return out;
}

size_t count_code_points(std::string_view text) {
  size_t n = 0;
  for (char c : text) n += (uint8_t(c) & 0xC0) != 0x80;
  return n;
}

}  // namespace vl8

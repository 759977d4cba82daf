// Just enough TIFF to find tag 0x0112 in the first directory. Every offset is checked; a broken block means
// upright.
#include <array>
#include <optional>
#include <string>

#include "media/codec.h"

namespace vl8::codec {
namespace {

struct Tiff {
  const uint8_t* data;
  size_t size;
  bool big_endian;

  std::optional<uint32_t> read(size_t at, int count) const {
    if (at > size || size - at < size_t(count)) return std::nullopt;
    uint32_t v = 0;
    for (int i = 0; i < count; ++i) v = v << 8 | data[at + size_t(big_endian ? i : count - 1 - i)];
    return v;
  }
};

constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;

int orientation_of(const Tiff& tiff) {
  auto directory = tiff.read(4, 4);
  if (!directory) return 1;
  auto entries = tiff.read(*directory, 2);
  for (uint32_t i = 0; entries && i < *entries; ++i) {
    size_t at = size_t(*directory) + 2 + size_t(i) * 12;
    auto tag = tiff.read(at, 2), type = tiff.read(at + 2, 2);
    if (!tag || !type) return 1;
    if (*tag != kOrientationTag) continue;
    std::optional<uint32_t> value;
    if (*type == kShort) value = tiff.read(at + 8, 2);
    if (*type == kLong) value = tiff.read(at + 8, 4);
    return value && *value >= 1 && *value <= 8 ? int(*value) : 1;
  }
  return 1;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

int exif_orientation(const uint8_t* data, size_t size) {
  constexpr std::array<uint8_t, 6> kHeader = {'E', 'x', 'i', 'f', 0, 0};
  if (size >= kHeader.size() && std::equal(kHeader.begin(), kHeader.end(), data))
    data += kHeader.size(), size -= kHeader.size();
  if (size < 8) return 1;
  if (data[0] == 'I' && data[1] == 'I' && data[2] == 42 && data[3] == 0)
    return orientation_of({data, size, false});
  if (data[0] == 'M' && data[1] == 'M' && data[2] == 0 && data[3] == 42)
    return orientation_of({data, size, true});
  return 1;
}

// The text is "\nexif\n    LENGTH\n" followed by hex digits with line breaks.
int exif_orientation_of_hex_profile(std::string_view text) {
  for (int lines = 0; lines < 3; ++lines) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) return 1;
    text.remove_prefix(end + 1);
  }
  std::string block;
  int high = -1;
  for (char c : text) {
    int digit = hex_digit(c);
    if (digit < 0) continue;
    if (high < 0)
      high = digit;
    else
      block += char(high << 4 | digit), high = -1;
  }
  return exif_orientation(reinterpret_cast<const uint8_t*>(block.data()), block.size());
}

}  // namespace vl8::codec

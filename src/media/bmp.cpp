// BMP: OS/2 and Windows headers, 1 to 32 bits, bit fields, run lengths, either row order. Embedded JPEG and
// PNG, OS/2 Huffman and 24-bit run lengths are unsupported.
#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "media/codec.h"

namespace vl8::codec {
namespace {

enum Compression : uint32_t {
  kRgb = 0,
  kRle8 = 1,
  kRle4 = 2,
  kBitFields = 3,
  kJpeg = 4,
  kPng = 5,
  kAlphaBitFields = 6
};

struct Header {
  int width, height;
  bool top_down;
  uint32_t bits, compression;
  size_t pixels_at;                // byte offset of the pixel data
  std::array<uint32_t, 4> mask{};  // red, green, blue, alpha
  std::array<std::array<uint8_t, 3>, 256> palette{};
};

uint32_t u16(const Input& in, size_t at) {
  if (at > in.size() || in.size() - at < 2) fail_damaged(in, "BMP", "the file is cut off");
  return uint32_t(in.bytes()[at] | in.bytes()[at + 1] << 8);
}
uint32_t u32(const Input& in, size_t at) {
  return u16(in, at) | u16(in, at + 2) << 16;
}

bool is_os2(uint32_t header_bytes) {
  return header_bytes != 40 && header_bytes != 52 && header_bytes != 56 && header_bytes <= 64;
}

void read_masks(const Input& in, Header& h, uint32_t header_bytes) {
  if (h.compression == kRgb) {
    if (h.bits == 16) h.mask = {0x7c00, 0x03e0, 0x001f, 0};
    if (h.bits == 32) h.mask = {0xff0000, 0x00ff00, 0x0000ff, 0};
    return;
  }
  if (h.compression != kBitFields && h.compression != kAlphaBitFields) return;
  if (h.bits != 16 && h.bits != 32) fail_damaged(in, "BMP", fmt::format("bit fields in {} bits", h.bits));
  const bool alpha = header_bytes >= 56 || h.compression == kAlphaBitFields;  // else the masks follow: three
  for (size_t i = 0; i < (alpha ? 4u : 3u); ++i) h.mask[i] = u32(in, 54 + 4 * i);
  for (uint32_t m : h.mask) {
    uint32_t ones = m >> (m ? std::countr_zero(m) : 0);
    if ((ones & (ones + 1)) != 0 || (h.bits == 16 && m > 0xffff))
      fail_damaged(in, "BMP", fmt::format("colour mask {:#x}", m));
  }
}

void read_palette(const Input& in, Header& h, uint32_t header_bytes, uint32_t used) {
  if (h.bits > 8) return;
  const uint32_t most = 1u << h.bits, entry = header_bytes == 12 ? 3 : 4;
  size_t at = 14 + size_t(header_bytes);
  if (used == 0) {
    used = most;
    if (h.pixels_at > at) used = std::min(used, uint32_t((h.pixels_at - at) / entry));
  }
  if (at > in.size() || (in.size() - at) / entry < used)
    fail_damaged(in, "BMP", fmt::format("a palette of {} colours does not fit into the file", used));
  for (uint32_t i = 0; i < std::min(used, most); ++i)
    for (size_t c = 0; c < 3; ++c) h.palette[i][c] = in.bytes()[at + size_t(i) * entry + 2 - c];
}

Header read_header(const Input& in) {
  Header h;
  h.pixels_at = u32(in, 10);
  const uint32_t header_bytes = u32(in, 14);
  const bool core = header_bytes == 12;
  if (!core && (header_bytes < 16 || (header_bytes > 64 && header_bytes != 108 && header_bytes != 124)))
    fail(ErrorKind::unsupported, "{}: a BMP with a header of {} bytes", in.name, header_bytes);
  const int64_t width = core ? int64_t(u16(in, 18)) : int32_t(u32(in, 18));
  int64_t height = core ? int64_t(u16(in, 20)) : int32_t(u32(in, 22));
  h.top_down = height < 0;
  height = h.top_down ? -height : height;
  check_size(in, width, height);
  h.width = int(width), h.height = int(height);
  h.bits = u16(in, core ? 24 : 28);
  h.compression = header_bytes >= 20 && !core ? u32(in, 30) : uint32_t(kRgb);
  const uint32_t used = header_bytes >= 36 ? u32(in, 46) : 0;
  if (h.compression == kJpeg || h.compression == kPng || h.compression > kAlphaBitFields ||
      (is_os2(header_bytes) && h.compression > kRle4))
    fail(ErrorKind::unsupported, "{}: a BMP with compression {}; save it uncompressed or as PNG", in.name,
         h.compression);
  constexpr uint32_t kDepths[] = {1, 2, 4, 8, 16, 24, 32};
  if (std::find(std::begin(kDepths), std::end(kDepths), h.bits) == std::end(kDepths))
    fail_damaged(in, "BMP", fmt::format("{} bits per pixel", h.bits));
  if ((h.compression == kRle8 && h.bits != 8) || (h.compression == kRle4 && h.bits != 4))
    fail_damaged(in, "BMP", fmt::format("run lengths with {} bits per pixel", h.bits));
  read_masks(in, h, header_bytes);
  read_palette(in, h, header_bytes, used);
  return h;
}

int row_of(const Header& h, int y) {
  return h.top_down ? y : h.height - 1 - y;
}  // y counts stored rows

void palette_row(const Header& h, const uint8_t* row, uint8_t* rgb) {
  const int per_byte = int(8 / h.bits), last = (1 << h.bits) - 1;
  for (int x = 0; x < h.width; ++x) {
    int shift = int(h.bits) * (per_byte - 1 - x % per_byte);
    const auto& color = h.palette[size_t(row[x / per_byte] >> shift & last)];
    std::copy(color.begin(), color.end(), rgb + 3 * x);
  }
}

uint8_t field(uint32_t value, uint32_t mask) {
  if (!mask) return 0;
  const int shift = std::countr_zero(mask);
  return uint8_t(uint64_t((value & mask) >> shift) * 255 / (mask >> shift));
}

void field_row(const Header& h, const uint8_t* row, uint8_t* rgba) {
  for (int x = 0; x < h.width; ++x) {
    uint32_t v = h.bits == 16 ? uint32_t(row[2 * x] | row[2 * x + 1] << 8)
                              : uint32_t(row[4 * x] | row[4 * x + 1] << 8 | row[4 * x + 2] << 16) |
                                    uint32_t(row[4 * x + 3]) << 24;
    for (size_t c = 0; c < 3; ++c) rgba[4 * size_t(x) + c] = field(v, h.mask[c]);
    rgba[4 * x + 3] = h.mask[3] ? field(v, h.mask[3]) : 255;
  }
}

void read_plain(const Input& in, const Header& h, const DecodeOptions& options, Image& image) {
  const size_t row_bytes = (size_t(h.width) * h.bits + 31) / 32 * 4;
  if (h.pixels_at > in.size() || (in.size() - h.pixels_at) / row_bytes < size_t(h.height))
    fail_damaged(in, "BMP", "the file is cut off");
  const bool fields = h.bits == 16 || h.bits == 32;
  bool any_alpha = false;  // an alpha field that is zero everywhere was never meant
  std::vector<uint8_t> rgba(fields ? size_t(h.width) * 4 : 0);
  auto stored = [&](int y) { return in.bytes() + h.pixels_at + size_t(y) * row_bytes; };
  for (int y = 0; fields && h.mask[3] && !any_alpha && y < h.height; ++y) {
    field_row(h, stored(y), rgba.data());
    for (int x = 0; x < h.width; ++x) any_alpha |= rgba[4 * size_t(x) + 3] != 0;
  }
  for (int y = 0; y < h.height; ++y) {
    uint8_t* out = image.row(row_of(h, y));
    if (h.bits <= 8) {
      palette_row(h, stored(y), out);
    } else if (h.bits == 24) {
      for (int x = 0; x < h.width; ++x)
        for (int c = 0; c < 3; ++c) out[3 * x + c] = stored(y)[3 * x + 2 - c];
    } else {
      field_row(h, stored(y), rgba.data());
      flatten_alpha(rgba.data(), out, h.width, any_alpha && options.alpha_on_white);
    }
  }
}

// Run lengths: (n, v) repeats; (0, 0) ends a row, (0, 1) the picture, (0, 2, dx, dy) moves, (0, n) copies n
// pixels. Pixels that are passed over keep index 0. Runs over the end of a row are cut.
void read_runs(const Input& in, const Header& h, Image& image) {
  std::vector<uint8_t> index(size_t(h.width) * size_t(h.height));
  int x = 0, y = 0;
  const bool nibbles = h.bits == 4;
  size_t at = h.pixels_at;
  auto put = [&](int v) {
    if (x < h.width && y < h.height) index[size_t(y) * size_t(h.width) + size_t(x)] = uint8_t(v);
    if (x < h.width) ++x;
  };
  while (y < h.height && !(y == h.height - 1 && x == h.width)) {
    uint32_t pair = u16(in, at);
    int count = int(pair & 255), value = int(pair >> 8);
    at += 2;
    if (count) {
      for (int i = 0; i < count; ++i) put(nibbles ? (i % 2 ? value & 15 : value >> 4) : value);
    } else if (value == 0) {
      x = 0, ++y;
    } else if (value == 1) {
      break;
    } else if (value == 2) {
      uint32_t move = u16(in, at);
      at += 2;
      x = std::min(h.width, x + int(move & 255)), y = std::min(h.height, y + int(move >> 8));
    } else {
      size_t bytes = nibbles ? (size_t(value) + 1) / 2 : size_t(value);
      if (at > in.size() || in.size() - at < bytes) fail_damaged(in, "BMP", "the file is cut off");
      for (int i = 0; i < value; ++i) {
        uint8_t byte = in.bytes()[at + size_t(nibbles ? i / 2 : i)];
        put(nibbles ? (i % 2 ? byte & 15 : byte >> 4) : byte);
      }
      at += (bytes + 1) / 2 * 2;
    }
  }
  for (int row = 0; row < h.height; ++row)
    for (int col = 0; col < h.width; ++col) {
      const auto& color = h.palette[index[size_t(row) * size_t(h.width) + size_t(col)]];
      std::copy(color.begin(), color.end(), image.row(row_of(h, row)) + 3 * col);
    }
}

}  // namespace

ImageInfo probe_bmp(const Input& in) {
  Header h = read_header(in);
  return {ImageFormat::bmp, h.width, h.height, 1};
}

Image decode_bmp(const Input& in, const DecodeOptions& options) {
  Header h = read_header(in);
  const bool runs = h.compression == kRle8 || h.compression == kRle4;
  if (h.pixels_at > in.size()) fail_damaged(in, "BMP", "the file is cut off");
  Image image(h.width, h.height);
  if (runs)
    read_runs(in, h, image);
  else
    read_plain(in, h, options, image);
  return image;
}

}  // namespace vl8::codec

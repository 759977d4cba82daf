// PBM, PGM and PPM, in text (P1..P3) and in binary (P4..P6), up to 16 bits.
#include <algorithm>

#include "media/codec.h"

namespace vl8::codec {
namespace {

struct Parser {
  const Input& in;
  size_t at = 2;  // after "P6"

  void skip_blank() {
    const uint8_t* b = in.bytes();
    while (at < in.size()) {
      if (b[at] == '#') {
        while (at < in.size() && b[at] != '\n' && b[at] != '\r') ++at;
      } else if (b[at] == ' ' || (b[at] >= '\t' && b[at] <= '\r')) {
        ++at;
      } else {
        return;
      }
    }
  }
  uint32_t number(std::string_view what) {
    skip_blank();
    uint64_t v = 0;
    size_t begin = at;
    for (; at < in.size() && in.bytes()[at] >= '0' && in.bytes()[at] <= '9'; ++at)
      if ((v = v * 10 + (in.bytes()[at] - '0')) > UINT32_MAX)
        fail_damaged(in, "PNM", fmt::format("{} is too large", what));
    if (at == begin) fail_damaged(in, "PNM", fmt::format("{} is missing", what));
    return uint32_t(v);
  }
  uint32_t bit() {  // digits of P1 may stand without blanks
    skip_blank();
    if (at >= in.size() || (in.bytes()[at] != '0' && in.bytes()[at] != '1'))
      fail_damaged(in, "PNM", "a pixel is missing");
    return in.bytes()[at++] - '0';
  }
};

struct Header {
  int kind, channels;  // kind: the digit after P
  int width, height;
  uint32_t max_value;
};

Header read_header(Parser& p) {
  Header h;
  h.kind = p.in.bytes()[1] - '0';
  h.channels = h.kind == 3 || h.kind == 6 ? 3 : 1;
  uint32_t width = p.number("the width"), height = p.number("the height");
  check_size(p.in, width, height);
  h.width = int(width), h.height = int(height);
  h.max_value = h.kind == 1 || h.kind == 4 ? 1 : p.number("the largest value");
  if (h.max_value < 1 || h.max_value > 65535)
    fail_damaged(p.in, "PNM", "the largest value is not in 1..65535");
  if (h.kind >= 4) ++p.at;  // exactly one blank before binary data
  return h;
}

uint8_t to_byte(uint32_t v, const Header& h, const DecodeOptions& options) {
  v = std::min(v, h.max_value);
  if (h.max_value == 255) return uint8_t(v);
  if (h.max_value < 255 || h.channels == 3) return uint8_t((v * 255 + h.max_value / 2) / h.max_value);
  uint32_t wide = uint32_t((uint64_t(v) * 65535 + h.max_value / 2) / h.max_value);
  return uint8_t(options.clip_grey16 ? std::min(wide, 255u) : wide >> 8);
}

void read_binary(const Parser& p, const Header& h, const DecodeOptions& options, Image& image) {
  const size_t samples = size_t(h.width) * size_t(h.channels);
  const size_t row_bytes = h.kind == 4 ? (size_t(h.width) + 7) / 8 : samples * (h.max_value > 255 ? 2 : 1);
  if (p.at > p.in.size() || (p.in.size() - p.at) / row_bytes < size_t(h.height))
    fail_damaged(p.in, "PNM", "the file is cut off");
  for (int y = 0; y < h.height; ++y) {
    const uint8_t* row = p.in.bytes() + p.at + size_t(y) * row_bytes;
    uint8_t* out = image.row(y);
    for (size_t i = 0; i < samples; ++i) {
      uint8_t v;
      if (h.kind == 4)
        v = row[i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
      else
        v = to_byte(h.max_value > 255 ? uint32_t(row[2 * i] << 8 | row[2 * i + 1]) : row[i], h, options);
      if (h.channels == 3)
        out[i] = v;
      else
        out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = v;
    }
  }
}

void read_text(Parser& p, const Header& h, const DecodeOptions& options, Image& image) {
  for (int64_t i = 0; i < int64_t(h.width) * h.height * h.channels; ++i) {
    uint8_t v = h.kind == 1 ? uint8_t(p.bit() ? 0 : 255) : to_byte(p.number("a pixel"), h, options);
    if (h.channels == 3)
      image.rgb[size_t(i)] = v;
    else
      std::fill_n(&image.rgb[size_t(i) * 3], 3, v);
  }
}

}  // namespace

ImageInfo probe_pnm(const Input& in) {
  Parser p{in};
  Header h = read_header(p);
  return {ImageFormat::pnm, h.width, h.height, 1};
}

Image decode_pnm(const Input& in, const DecodeOptions& options) {
  Parser p{in};
  Header h = read_header(p);
  // A pixel takes at least one bit (P4) or one character; so a short file is refused before memory is taken
  // for it.
  if (in.size() < size_t(h.width) * size_t(h.height) / 8) fail_damaged(in, "PNM", "the file is cut off");
  Image image(h.width, h.height);
  if (h.kind >= 4)
    read_binary(p, h, options, image);
  else
    read_text(p, h, options, image);
  return image;
}

}  // namespace vl8::codec

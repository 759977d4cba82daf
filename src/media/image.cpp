#include "media/image.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/file.h"
#include "media/codec.h"
#include "media/kernels.h"

namespace vl8 {
namespace {

using codec::Input;

struct Codec {
  ImageFormat format;
  std::string_view name;
  ImageInfo (*probe)(const Input&);
  Image (*decode)(const Input&, const DecodeOptions&);
};
constexpr Codec kCodecs[] = {
    {ImageFormat::jpeg, "JPEG", codec::probe_jpeg, codec::decode_jpeg},
    {ImageFormat::png, "PNG", codec::probe_png, codec::decode_png},
    {ImageFormat::webp, "WebP", codec::probe_webp, codec::decode_webp},
    {ImageFormat::bmp, "BMP", codec::probe_bmp, codec::decode_bmp},
    {ImageFormat::gif, "GIF", codec::probe_gif, codec::decode_gif},
    {ImageFormat::pnm, "PNM", codec::probe_pnm, codec::decode_pnm},
};

bool begins(std::span<const std::byte> data, std::string_view magic, size_t at = 0) {
  return data.size() >= at + magic.size() && std::memcmp(data.data() + at, magic.data(), magic.size()) == 0;
}

bool looks_like_text(std::span<const std::byte> data) {
  auto head = data.first(std::min<size_t>(data.size(), 512));
  return std::all_of(head.begin(), head.end(), [](std::byte b) {
    auto c = uint8_t(b);
    return c >= 32 || c == '\n' || c == '\r' || c == '\t';
  });
}

// What a file is that we do not read, so that the message can name it.
std::string_view foreign_format(std::span<const std::byte> data) {
  if (begins(data, std::string_view("II*\0", 4)) || begins(data, std::string_view("MM\0*", 4))) return "TIFF";
  if (begins(data, "ftyp", 4)) {
    if (begins(data, "avif", 8) || begins(data, "avis", 8)) return "AVIF";
    if (begins(data, "hei", 8) || begins(data, "hev", 8) || begins(data, "mif1", 8)) return "HEIF";
    return "MP4 or MOV video";
  }
  if (begins(data, "\x1a\x45\xdf\xa3")) return "Matroska or WebM video";
  if (begins(data, "%PDF")) return "PDF";
  if (begins(data, "<svg") || begins(data, "<?xml")) return "SVG or XML";
  if (begins(data, "\xff\x0a") || begins(data, "JXL ", 4)) return "JPEG XL";
  return {};
}

const Codec& find_codec(const Input& in) {
  auto is = [&](std::string_view magic, size_t at = 0) { return begins(in.data, magic, at); };
  auto at = [&](ImageFormat f) -> const Codec& { return kCodecs[size_t(f)]; };
  if (in.data.empty()) fail_input("{}: the file is empty", in.name);
  if (in.size() > in.limits.max_bytes)
    fail_input("{}: {} bytes, the limit for a picture is {}", in.name, in.size(), in.limits.max_bytes);
  if (is("\xff\xd8\xff")) return at(ImageFormat::jpeg);
  if (is("\x89PNG\r\n\x1a\n")) return at(ImageFormat::png);
  if (is("RIFF") && is("WEBP", 8)) return at(ImageFormat::webp);
  if (is("GIF87a") || is("GIF89a")) return at(ImageFormat::gif);
  if (is("BM")) return at(ImageFormat::bmp);
  if (in.size() > 2 && in.bytes()[0] == 'P' && in.bytes()[1] >= '1' && in.bytes()[1] <= '6' &&
      std::strchr(" \t\r\n#", in.bytes()[2]))
    return at(ImageFormat::pnm);
  if (auto foreign = foreign_format(in.data); !foreign.empty())
    fail(ErrorKind::unsupported,
         "{}: this is {}; vl8 reads JPEG, PNG, WebP, BMP, GIF and PNM: convert it first", in.name, foreign);
  fail_input(
      "{}: not a picture{}; vl8 reads JPEG, PNG, WebP, BMP, GIF and PNM (told by content, not by name)",
      in.name, looks_like_text(in.data) ? " but text" : "");
}

}  // namespace

namespace codec {

void check_size(const Input& in, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) fail_input("{}: the header says {}x{} pixels", in.name, width, height);
  const Limits& limits = in.limits;
  if (width > limits.max_pixels / height || width > INT32_MAX / 4 || height > INT32_MAX / 4)
    fail_input("{}: {}x{} pixels, the limit is {} in all: scale it down first", in.name, width, height,
               limits.max_pixels);
  double aspect = double(std::max(width, height)) / double(std::min(width, height));
  if (limits.max_aspect > 0 && aspect > limits.max_aspect)
    fail_input("{}: {}x{} pixels, one side is more than {} times the other: crop it first", in.name, width,
               height, limits.max_aspect);
}

void flatten_alpha(const uint8_t* rgba, uint8_t* rgb, int64_t pixels, bool on_white) {
  if (!on_white) {
    for (int64_t i = 0; i < pixels; ++i) std::memcpy(rgb + 3 * i, rgba + 4 * i, 3);
    return;
  }
  for (int64_t i = 0; i < pixels; ++i) {
    unsigned a = rgba[4 * i + 3],
             white = (255 - a) * 255 + 127;  // +127: to nearest, 255 is odd so there are no ties
    for (int c = 0; c < 3; ++c) rgb[3 * i + c] = uint8_t((rgba[4 * i + c] * a + white) / 255);
  }
}

}  // namespace codec

std::string_view image_format_name(ImageFormat format) {
  return kCodecs[size_t(format)].name;
}

Image::Image(int w, int h) : width(w), height(h), stored_width(w), stored_height(h) {
  check(w > 0 && h > 0, "picture of {}x{} pixels", w, h);
  rgb.reset(new (std::nothrow) uint8_t[bytes() + pixel::kSlack]);  // kernels read a little past the last row
  if (!rgb) fail(ErrorKind::resource, "no memory for a picture of {}x{} pixels ({} bytes)", w, h, bytes());
}

Image Image::clone() const {
  Image copy(width, height);
  copy.stored_width = stored_width, copy.stored_height = stored_height, copy.orientation = orientation;
  std::memcpy(copy.rgb.get(), rgb.get(), bytes());
  return copy;
}

Image orient(Image image, int orientation) {
  check(orientation >= 1 && orientation <= 8, "EXIF orientation {}", orientation);
  if (orientation == 1) return image;
  const bool swap = orientation >= 5;
  // The stored pixel (sx, sy) that is seen at (x, y): columns, then rows, count from the far end where
  // flipped.
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int w = image.width, h = image.height;
  Image out(swap ? h : w, swap ? w : h);
  out.stored_width = w, out.stored_height = h, out.orientation = orientation;
  constexpr int kTile = 32;  // keeps both sides of a transposition in the cache
  for (int y0 = 0; y0 < out.height; y0 += kTile)
    for (int x0 = 0; x0 < out.width; x0 += kTile)
      for (int y = y0; y < std::min(y0 + kTile, out.height); ++y)
        for (int x = x0; x < std::min(x0 + kTile, out.width); ++x) {
          int sx = swap ? y : x, sy = swap ? x : y;
          if (flip_x) sx = w - 1 - sx;
          if (flip_y) sy = h - 1 - sy;
          std::memcpy(out.row(y) + 3 * x, image.row(sy) + 3 * sx, 3);
        }
  return out;
}

ImageInfo probe_image(std::span<const std::byte> data, std::string_view name, const Limits& limits) {
  Input in{data, name, limits};
  const Codec& c = find_codec(in);
  ImageInfo info = c.probe(in);
  info.format = c.format;
  return info;
}

Image decode_image(std::span<const std::byte> data, std::string_view name, const Limits& limits,
                   const DecodeOptions& options) {
  Input in{data, name, limits};
  Image image = find_codec(in).decode(in, options);
  int orientation = std::exchange(image.orientation, 1);
  if (!options.apply_orientation) return image;
  return orient(std::move(image), orientation);
}

std::string read_image_file(const std::filesystem::path& path, const Limits& limits) {
  std::string data = read_file(path, limits.max_bytes);
  if (data.empty()) fail_input("{}: the file is empty", path.string());
  return data;
}

Image load_image(const std::filesystem::path& path, const Limits& limits, const DecodeOptions& options) {
  std::string data = read_image_file(path, limits);
  return decode_image(std::as_bytes(std::span(data)), path.string(), limits, options);
}

}  // namespace vl8

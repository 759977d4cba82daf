// Encoded pictures to upright RGB8. JPEG, PNG, WebP, BMP, GIF and PNM, told apart by content, never by name.
//
// Pixels equal those of Pillow's `convert("RGB")` (accurate integer DCT, smooth chroma upsampling, Adobe
// CMYK, gamma and colour profiles ignored), with two deliberate differences, both of which DecodeOptions can
// undo: the EXIF orientation is applied, and transparent pixels are laid on white instead of losing their
// alpha. 16-bit channels keep their high byte. Of an animation the first frame is taken; of a multi-picture
// JPEG the first picture. A file whose pixel data ends early is an error, as in Pillow.
//
// Nothing in a file is trusted: the header is read first and held against Limits before any pixel is
// allocated. All errors are Error(input) or Error(unsupported) and begin with the name of the file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace vl8 {

// RGB, 8 bits each, rows tightly packed (3 * width bytes), origin top left. Owns its pixels; moves, does not
// copy.
struct Image {
  int width = 0, height = 0;                // pixels, upright
  int stored_width = 0, stored_height = 0;  // as in the file, before the orientation was applied
  int orientation = 1;                      // EXIF 1..8 that was applied; 1 when there was none
  std::unique_ptr<uint8_t[]> rgb;

  Image() = default;
  Image(int width, int height);  // uninitialised pixels and a little slack; Error(resource) without memory
  size_t bytes() const { return size_t(width) * size_t(height) * 3; }
  size_t stride() const { return size_t(width) * 3; }
  uint8_t* row(int y) { return rgb.get() + size_t(y) * stride(); }
  const uint8_t* row(int y) const { return rgb.get() + size_t(y) * stride(); }
  Image clone() const;
};

// Decoding takes the picture itself plus, while it runs, at most 8 bytes per pixel more (RGBA rows of an
// interlaced PNG, coefficients of a progressive JPEG, libwebp's lossless planes).
struct Limits {
  size_t max_bytes = size_t(256) << 20;   // of the encoded file
  int64_t max_pixels = int64_t(1) << 27;  // width * height: 134 million, 403 MB as RGB
  double max_aspect = 200;                // longer / shorter side; exactly 200 passes (spec 5.1). 0: no limit
};

struct DecodeOptions {
  bool apply_orientation = true;
  bool alpha_on_white = true;  // round(alpha * c + (255 - alpha) * 255) / 255; false: alpha is dropped
  bool clip_grey16 = false;    // true: 16-bit grey is min(v, 255), as Pillow 9 does; false: high byte
};

enum class ImageFormat { jpeg, png, webp, bmp, gif, pnm };
std::string_view image_format_name(ImageFormat format);  // "JPEG", "PNG", ...

struct ImageInfo {
  ImageFormat format = ImageFormat::jpeg;
  int width = 0, height = 0;  // as stored
  int orientation = 1;        // EXIF 1..8; values outside are read as 1
};

// `name` is what error messages call the picture (a path, "image 2 of the request").
ImageInfo probe_image(std::span<const std::byte> data, std::string_view name, const Limits& limits = {});
Image decode_image(std::span<const std::byte> data, std::string_view name, const Limits& limits = {},
                   const DecodeOptions& options = {});
Image load_image(const std::filesystem::path& path, const Limits& limits = {},
                 const DecodeOptions& options = {});

// The bytes of a picture file, within limits.max_bytes; a folder, a missing or an empty file is an
// Error(input).
std::string read_image_file(const std::filesystem::path& path, const Limits& limits = {});

// EXIF orientation 2..8 undone: the picture as it is meant to be seen. 1 returns the picture as it is.
Image orient(Image image, int orientation);

}  // namespace vl8

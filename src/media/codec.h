// Inside media only: what the decoders of image.h share. Each reads the header, holds it against the limits,
// and only then allocates pixels.
#pragma once
#include <span>
#include <string_view>

#include "core/error.h"
#include "media/image.h"

namespace vl8::codec {

struct Input {
  std::span<const std::byte> data;
  std::string_view name;  // what messages call the picture
  const Limits& limits;
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(data.data()); }
  size_t size() const { return data.size(); }
};

// Error(input) when a side is not positive or the picture is beyond limits.max_pixels or max_aspect.
void check_size(const Input& in, int64_t width, int64_t height);

ImageInfo probe_jpeg(const Input& in);
ImageInfo probe_png(const Input& in);
ImageInfo probe_webp(const Input& in);
ImageInfo probe_bmp(const Input& in);
ImageInfo probe_gif(const Input& in);
ImageInfo probe_pnm(const Input& in);

// Pixels as stored; `orientation` of the result is what the file says, not yet applied.
Image decode_jpeg(const Input& in, const DecodeOptions& options);
Image decode_png(const Input& in, const DecodeOptions& options);
Image decode_webp(const Input& in, const DecodeOptions& options);
Image decode_bmp(const Input& in, const DecodeOptions& options);
Image decode_gif(const Input& in, const DecodeOptions& options);
Image decode_pnm(const Input& in, const DecodeOptions& options);

// The orientation tag of an EXIF block: "II*\0" or "MM\0*", with or without "Exif\0\0" in front. 1 when the
// block has none, is broken, or the value is not 1..8.
int exif_orientation(const uint8_t* data, size_t size);
// The same for the hex text in which ImageMagick stores EXIF in a PNG ("Raw profile type exif").
int exif_orientation_of_hex_profile(std::string_view text);

// RGBA rows to RGB: laid on white (rounded to nearest), or alpha dropped.
void flatten_alpha(const uint8_t* rgba, uint8_t* rgb, int64_t pixels, bool on_white);

[[noreturn]] inline void fail_damaged(const Input& in, std::string_view format, std::string_view what) {
  fail_input("{}: damaged {} file: {}", in.name, format, what);
}

}  // namespace vl8::codec

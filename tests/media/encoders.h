// Pictures in files, made with the codec libraries, for the decoder tests.
#pragma once
#include <string>
#include <vector>

#include "media/image.h"

namespace vl8::testing {

struct JpegSpec {
  int quality = 90;
  int h = 2, v = 2;  // luma samples per chroma sample
  bool progressive = false;
  int channels = 3;     // 1 grey, 3 YCbCr, 4 CMYK (values = 255 - RGB, K = 0, stored inverted as Adobe does)
  int orientation = 0;  // 1..8: an EXIF block is written
};
std::string encode_jpeg(const Image& image, const JpegSpec& spec);

enum class WebpKind { lossless, lossy };
std::string encode_webp(const Image& image, WebpKind kind);
std::string encode_png_rgba(int width, int height, const std::vector<uint8_t>& rgba);
std::string encode_gif(int width, int height, int frame_left, int frame_top, int frame_width,
                       int frame_height, const std::vector<uint8_t>& index, bool interlaced, int transparent);

// A PNG with one more chunk before IDAT.
std::string png_with_chunk(const std::string& png, const std::string& type, const std::string& data);
std::string exif_block(int orientation, bool big_endian);

}  // namespace vl8::testing

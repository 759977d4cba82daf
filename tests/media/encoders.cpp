#include "encoders.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
//
#include <gif_lib.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>
#include <zlib.h>

namespace vl8::testing {

std::string exif_block(int orientation, bool big_endian) {
  auto put = [&](std::string& s, uint32_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) s += char(v >> 8 * (big_endian ? bytes - 1 - i : i));
  };
  std::string s = big_endian ? "MM" : "II";
  put(s, 42, 2), put(s, 8, 4);  // header, offset of the directory
  put(s, 2, 2);                 // two entries
  put(s, 0x0100, 2), put(s, 3, 2), put(s, 1, 4), put(s, 7, 2), put(s, 0, 2);
  put(s, 0x0112, 2), put(s, 3, 2), put(s, 1, 4), put(s, uint32_t(orientation), 2), put(s, 0, 2);
  put(s, 0, 4);
  return s;
}

std::string encode_jpeg(const Image& image, const JpegSpec& spec) {
  jpeg_compress_struct c;
  jpeg_error_mgr errors;
  c.err = jpeg_std_error(&errors);
  jpeg_create_compress(&c);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&c, &out, &size);
  c.image_width = unsigned(image.width), c.image_height = unsigned(image.height);
  c.input_components = spec.channels;
  c.in_color_space = spec.channels == 1 ? JCS_GRAYSCALE : spec.channels == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, spec.quality, TRUE);
  if (spec.channels == 3) c.comp_info[0].h_samp_factor = spec.h, c.comp_info[0].v_samp_factor = spec.v;
  if (spec.progressive) jpeg_simple_progression(&c);
  jpeg_start_compress(&c, TRUE);
  if (spec.orientation) {
    std::string marker = std::string("Exif\0\0", 6) + exif_block(spec.orientation, spec.orientation % 2);
    jpeg_write_marker(&c, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(marker.data()),
                      unsigned(marker.size()));
  }
  std::vector<uint8_t> row(size_t(image.width) * 4);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* p = image.row(y);
    for (int x = 0; x < image.width; ++x)
      for (int k = 0; k < spec.channels; ++k)
        row[size_t(x * spec.channels + k)] = k == 3 ? 255 : p[3 * x + k];  // CMYK inverted: 255 - (255 - rgb)
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&c, rows, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  std::string file(reinterpret_cast<char*>(out), size);
  std::free(out);
  return file;
}

std::string encode_webp(const Image& image, WebpKind kind) {
  uint8_t* out = nullptr;
  size_t size =
      kind == WebpKind::lossless
          ? WebPEncodeLosslessRGB(image.rgb.get(), image.width, image.height, int(image.stride()), &out)
          : WebPEncodeRGB(image.rgb.get(), image.width, image.height, int(image.stride()), 80, &out);
  std::string file(reinterpret_cast<char*>(out), size);
  WebPFree(out);
  return file;
}

std::string encode_png_rgba(int width, int height, const std::vector<uint8_t>& rgba) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION, header.format = PNG_FORMAT_RGBA;
  header.width = unsigned(width), header.height = unsigned(height);
  std::string file(PNG_IMAGE_PNG_SIZE_MAX(header), '\0');
  png_alloc_size_t size = file.size();
  if (!png_image_write_to_memory(&header, file.data(), &size, 0, rgba.data(), 0, nullptr)) return {};
  file.resize(size);
  return file;
}

std::string encode_gif(int width, int height, int left, int top, int frame_width, int frame_height,
                       const std::vector<uint8_t>& index, bool interlaced, int transparent) {
  std::string file;
  int error = 0;
  auto write = [](GifFileType* gif, const GifByteType* data, int n) {
    static_cast<std::string*>(gif->UserData)->append(reinterpret_cast<const char*>(data), size_t(n));
    return n;
  };
  GifFileType* gif = EGifOpen(&file, write, &error);
  GifColorType colors[8];
  for (int i = 0; i < 8; ++i) colors[i] = {GifByteType(30 * i), GifByteType(255 - 30 * i), GifByteType(i)};
  ColorMapObject* map = GifMakeMapObject(8, colors);
  EGifPutScreenDesc(gif, width, height, 8, 0, map);
  if (transparent >= 0) {
    const GifByteType control[] = {1, 0, 0, GifByteType(transparent)};
    EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, 4, control);
  }
  EGifPutImageDesc(gif, left, top, frame_width, frame_height, interlaced, nullptr);
  std::vector<int> order;
  if (interlaced) {
    for (auto [first, step] : {std::pair{0, 8}, std::pair{4, 8}, std::pair{2, 4}, std::pair{1, 2}})
      for (int y = first; y < frame_height; y += step) order.push_back(y);
  } else {
    for (int y = 0; y < frame_height; ++y) order.push_back(y);
  }
  for (int y : order) {
    std::vector<GifPixelType> line(index.begin() + y * frame_width, index.begin() + (y + 1) * frame_width);
    EGifPutLine(gif, line.data(), frame_width);
  }
  EGifCloseFile(gif, &error);
  GifFreeMapObject(map);
  return file;
}

std::string png_with_chunk(const std::string& png, const std::string& type, const std::string& data) {
  auto big = [](uint32_t v) { return std::string{char(v >> 24), char(v >> 16), char(v >> 8), char(v)}; };
  std::string body = type + data;
  uint32_t crc = uint32_t(crc32(0, reinterpret_cast<const Bytef*>(body.data()), unsigned(body.size())));
  std::string chunk = big(uint32_t(data.size())) + body + big(crc);
  size_t at = png.find("IDAT") - 4;
  return png.substr(0, at) + chunk + png.substr(at);
}

}  // namespace vl8::testing

#include <png.h>

#include <cstring>

#include "core/error.h"
#include "core/file.h"
#include "media/draw.h"

namespace vl8 {

std::string encode_png(const Image& image) {
  check(image.width > 0 && image.height > 0, "a picture of {}x{} pixels", image.width, image.height);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = png_uint_32(image.width), header.height = png_uint_32(image.height);
  header.format = PNG_FORMAT_RGB;
  std::string file(PNG_IMAGE_PNG_SIZE_MAX(header), '\0');
  png_alloc_size_t size = file.size();
  if (!png_image_write_to_memory(&header, file.data(), &size, 0, image.rgb.get(), 0, nullptr))
    fail(ErrorKind::resource, "cannot encode a PNG of {}x{} pixels: {}", image.width, image.height,
         header.message);
  file.resize(size);
  return file;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_file(path, encode_png(image));
}

}  // namespace vl8

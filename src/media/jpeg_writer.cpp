// Pictures as JPEG, for storage and pages.
#include <cstdio>
//
#include <jpeglib.h>

#include <csetjmp>
#include <cstdlib>

#include "core/error.h"
#include "media/draw.h"

namespace vl8 {
namespace {

struct Errors {
  jpeg_error_mgr base;
  jmp_buf out;
};

// Only C objects live across the jump.
bool encode(const Image& image, int quality, unsigned char** data, unsigned long* size) {
  jpeg_compress_struct c{};
  Errors errors{};
  c.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = [](j_common_ptr p) { longjmp(reinterpret_cast<Errors*>(p->err)->out, 1); };
  if (setjmp(errors.out)) {
    jpeg_destroy_compress(&c);
    return false;
  }
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, data, size);
  c.image_width = JDIMENSION(image.width), c.image_height = JDIMENSION(image.height);
  c.input_components = 3, c.in_color_space = JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, quality, TRUE);
  jpeg_start_compress(&c, TRUE);
  while (c.next_scanline < c.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(image.row(int(c.next_scanline)));
    jpeg_write_scanlines(&c, &row, 1);
  }
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality) {
  check(image.width > 0 && image.height > 0 && quality >= 1 && quality <= 100, "a JPEG of {}x{} at {}", image.width, image.height, quality);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  const bool ok = encode(image, quality, &data, &size);
  std::string out(reinterpret_cast<const char*>(data), ok ? size : 0);
  std::free(data);
  if (!ok) fail(ErrorKind::resource, "a picture of {}x{} cannot be written as JPEG", image.width, image.height);
  return out;
}

}  // namespace vl8

// PNG through libpng. The library leaves its errors by longjmp; every call into it sits in a lambda that owns
// nothing.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "media/codec.h"

namespace vl8::codec {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr, tail = nullptr;
  std::jmp_buf jump;
  char message[200] = "";
  const uint8_t* next = nullptr;
  size_t left = 0;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (png) png_destroy_read_struct(&png, &info, &tail);
  }
  template <typename F>
  bool run(F f) {
    if (setjmp(jump)) return false;
    f();
    return true;
  }
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", text);
  std::longjmp(reader->jump, 1);
}
void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->left) png_error(png, "the file is cut off");
  std::memcpy(out, reader->next, count);
  reader->next += count;
  reader->left -= count;
}

void open(Reader& r, const Input& in) {
  // Apple's own variant: raw deflate and BGR order, which standard readers must refuse.
  if (in.size() >= 16 && std::memcmp(in.bytes() + 12, "CgBI", 4) == 0)
    fail(ErrorKind::unsupported, "{}: an Xcode-optimised PNG (CgBI); save it as a standard PNG", in.name);
  r.next = in.bytes(), r.left = in.size();
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
  if (r.png) r.info = png_create_info_struct(r.png), r.tail = png_create_info_struct(r.png);
  if (!r.info || !r.tail) fail(ErrorKind::resource, "{}: no memory for the PNG reader", in.name);
  bool ok = r.run([&] {
    png_set_user_limits(r.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours are checked below
    png_set_read_fn(r.png, &r, read_bytes);
    png_read_info(r.png, r.info);
  });
  if (!ok) fail_damaged(in, "PNG", r.message);
  check_size(in, png_get_image_width(r.png, r.info), png_get_image_height(r.png, r.info));
}

int orientation_in(png_structp png, png_infop info) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(png, info, &size, &exif) && exif) return exif_orientation(exif, size);
  png_textp text = nullptr;
  int count = 0;
  png_get_text(png, info, &text, &count);
  for (int i = 0; i < count; ++i) {
    std::string_view key = text[i].key;
    if (text[i].text && (key == "Raw profile type exif" || key == "Raw profile type APP1"))
      return exif_orientation_of_hex_profile(text[i].text);
  }
  return 1;
}

struct Format {
  bool grey16 = false;  // rows stay 16-bit grey
  bool alpha = false;   // rows are RGBA, else RGB
  int passes = 1;
};

// Everything becomes 8-bit RGB or RGBA, except 16-bit grey when it is to be clipped. Gamma is left alone, as
// in Pillow.
Format set_transforms(Reader& r, const DecodeOptions& options) {
  Format f;
  const int type = png_get_color_type(r.png, r.info), depth = png_get_bit_depth(r.png, r.info);
  const bool transparent = png_get_valid(r.png, r.info, PNG_INFO_tRNS);
  f.grey16 = options.clip_grey16 && type == PNG_COLOR_TYPE_GRAY && depth == 16;
  f.alpha = !f.grey16 && ((type & PNG_COLOR_MASK_ALPHA) || (transparent && options.alpha_on_white));
  if (!f.grey16) {
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r.png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(r.png);
    if (transparent && f.alpha)
      png_set_tRNS_to_alpha(r.png);  // before 16 bits are cut: tRNS compares all of them
    if (transparent && !f.alpha) png_set_strip_alpha(r.png);
    if (depth == 16) png_set_strip_16(r.png);
    if (type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA) png_set_gray_to_rgb(r.png);
  }
  f.passes = png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  return f;
}

void grey16_row(const uint8_t* in, uint8_t* rgb, int width) {  // as Pillow: min(v, 255)
  for (int x = 0; x < width; ++x) std::memset(rgb + 3 * x, in[2 * x] ? 255 : in[2 * x + 1], 3);
}

void finish_row(const Format& f, const uint8_t* row, uint8_t* rgb, int width, const DecodeOptions& options) {
  if (f.grey16)
    grey16_row(row, rgb, width);
  else
    flatten_alpha(row, rgb, width, options.alpha_on_white);
}

// RGB rows go straight into the picture. Others pass a row buffer, or one of the whole picture when the file
// is interlaced, because each pass adds pixels to all rows.
void read_rows(Reader& r, const Input& in, const Format& f, const DecodeOptions& options, Image& image) {
  const size_t row_bytes = size_t(image.width) * (f.grey16 ? 2 : f.alpha ? 4 : 3);
  bool ok = true;
  ok = r.run([&] {
    if (png_get_rowbytes(r.png, r.info) != row_bytes) png_error(r.png, "unexpected size of a row");
  });
  const bool direct = !f.grey16 && !f.alpha;
  std::vector<uint8_t> aside;
  if (ok && !direct) aside.resize(row_bytes * size_t(f.passes > 1 ? image.height : 1));
  for (int pass = 0; ok && pass < f.passes; ++pass)
    for (int y = 0; ok && y < image.height; ++y) {
      uint8_t* row = direct ? image.row(y) : aside.data() + (f.passes > 1 ? size_t(y) * row_bytes : 0);
      ok = r.run([&] { png_read_row(r.png, row, nullptr); });
      if (ok && !direct && pass + 1 == f.passes) finish_row(f, row, image.row(y), image.width, options);
    }
  ok = ok && r.run([&] { png_read_end(r.png, r.tail); });
  if (!ok) fail_damaged(in, "PNG", r.message);
}

}  // namespace

ImageInfo probe_png(const Input& in) {
  Reader r;
  open(r, in);
  return {ImageFormat::png, int(png_get_image_width(r.png, r.info)), int(png_get_image_height(r.png, r.info)),
          orientation_in(r.png, r.info)};
}

Image decode_png(const Input& in, const DecodeOptions& options) {
  Reader r;
  open(r, in);
  Format format;
  if (!r.run([&] { format = set_transforms(r, options); })) fail_damaged(in, "PNG", r.message);
  Image image(int(png_get_image_width(r.png, r.info)), int(png_get_image_height(r.png, r.info)));
  read_rows(r, in, format, options, image);
  image.orientation = orientation_in(r.png, r.info);
  if (image.orientation == 1) image.orientation = orientation_in(r.png, r.tail);
  return image;
}

}  // namespace vl8::codec

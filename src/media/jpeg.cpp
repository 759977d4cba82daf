#include "media/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>
//
#include <jerror.h>
#include <jpeglib.h>

namespace vl8::codec {
namespace {

constexpr int kMaxScans =
    1000;  // of a progressive file; real ones have about ten. Each scan costs a pass over all blocks
constexpr int kRowsPerCall = 16;

struct ErrorManager {
  jpeg_error_mgr base;  // first, so that the library's pointer is ours
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

[[noreturn]] void fail_with(j_common_ptr info, const char* message) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(manager->message, sizeof manager->message, "%s", message);
  std::longjmp(manager->jump, 1);
}

void on_message(j_common_ptr) {}
void on_warning(j_common_ptr, int) {}  // stray bytes, odd version numbers: decoded on, as Pillow does

void source_nothing(j_decompress_ptr) {}
boolean source_ended(j_decompress_ptr info) {
  fail_with(reinterpret_cast<j_common_ptr>(info), "the file is cut off: it ends before its pixels do");
}
void source_skip(j_decompress_ptr info, long count) {
  size_t n = std::min(size_t(std::max(count, 0L)), info->src->bytes_in_buffer);
  info->src->next_input_byte += n;
  info->src->bytes_in_buffer -= n;
}

void watch_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans)
    fail_with(info, "more than 1000 scans");
}

// Pillow's rule for four channels: stored inverted (as Adobe writes them), then each of C, M, Y over K.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int pixels) {
  for (int i = 0; i < pixels; ++i) {
    unsigned light = cmyk[4 * i + 3];  // 255 - K
    for (int c = 0; c < 3; ++c) {
      unsigned t = (255u - cmyk[4 * i + c]) * light + 128;
      rgb[3 * i + c] = uint8_t(light - ((t + (t >> 8)) >> 8));
    }
  }
}

}  // namespace

struct JpegReader::State {
  jpeg_decompress_struct info{};
  ErrorManager errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::vector<uint8_t> cmyk;

  // Runs f, which calls the library and owns nothing; false when the library gave up (errors.message says
  // why).
  template <typename F>
  bool run(F f) {
    if (setjmp(errors.jump)) return false;
    f();
    return true;
  }
};

JpegReader::JpegReader(const Input& in) : state_(std::make_unique<State>()), in_(in) {
  State& s = *state_;
  s.info.err = jpeg_std_error(&s.errors.base);
  s.errors.base.error_exit = on_error;
  s.errors.base.output_message = on_message;
  s.errors.base.emit_message = on_warning;
  bool ok = s.run([&] {
    jpeg_create_decompress(&s.info);
    s.source.next_input_byte = in.bytes();
    s.source.bytes_in_buffer = in.size();
    s.source.init_source = source_nothing;
    s.source.fill_input_buffer = source_ended;
    s.source.skip_input_data = source_skip;
    s.source.resync_to_restart = jpeg_resync_to_restart;
    s.source.term_source = source_nothing;
    s.info.src = &s.source;
    s.progress.progress_monitor = watch_scans;
    s.info.progress = &s.progress;
    jpeg_save_markers(&s.info, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&s.info, TRUE);
  });
  try {
    if (!ok) fail_damaged(in, "JPEG", s.errors.message);
    check_size(in, s.info.image_width, s.info.image_height);
  } catch (...) {
    jpeg_destroy_decompress(&s.info);  // the destructor does not run for a constructor that throws
    throw;
  }
  for (auto* m = s.info.marker_list; m && orientation_ == 1; m = m->next)
    if (m->data_length > 6 && std::memcmp(m->data, "Exif\0", 6) == 0)
      orientation_ = exif_orientation(m->data, m->data_length);
}

JpegReader::~JpegReader() {
  jpeg_destroy_decompress(&state_->info);
}

int JpegReader::width() const {
  return int(state_->info.image_width);
}
int JpegReader::height() const {
  return int(state_->info.image_height);
}

void JpegReader::start() {
  State& s = *state_;
  const int channels = s.info.num_components;
  if (channels != 1 && channels != 3 && channels != 4)
    fail(ErrorKind::unsupported, "{}: a JPEG with {} colour channels; 1, 3 and 4 are read", in_.name,
         channels);
  bool ok = s.run([&] {
    s.info.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    s.info.dct_method = JDCT_ISLOW;
    s.info.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&s.info);
  });
  if (!ok) fail_damaged(in_, "JPEG", s.errors.message);
  if (channels == 4) s.cmyk.resize(size_t(width()) * 4 * kRowsPerCall);
}

int JpegReader::read(uint8_t* rgb, size_t stride, int rows) {
  State& s = *state_;
  rows = std::min(rows, int(s.info.output_height - s.info.output_scanline));
  int done = 0;
  while (done < rows) {
    uint8_t* lines[kRowsPerCall];
    const int want = std::min(rows - done, kRowsPerCall);
    for (int i = 0; i < want; ++i)
      lines[i] =
          s.cmyk.empty() ? rgb + size_t(done + i) * stride : s.cmyk.data() + size_t(i) * size_t(width()) * 4;
    volatile int got = 0;
    if (!s.run([&] { got = int(jpeg_read_scanlines(&s.info, lines, JDIMENSION(want))); }))
      fail_damaged(in_, "JPEG", s.errors.message);
    for (int i = 0; i < got && !s.cmyk.empty(); ++i)
      cmyk_to_rgb(lines[i], rgb + size_t(done + i) * stride, width());
    done += got;
  }
  return done;
}

ImageInfo probe_jpeg(const Input& in) {
  JpegReader reader(in);
  return {ImageFormat::jpeg, reader.width(), reader.height(), reader.orientation()};
}

Image decode_jpeg(const Input& in, const DecodeOptions&) {
  JpegReader reader(in);
  reader.start();
  Image image(reader.width(), reader.height());
  reader.read(image.rgb.get(), image.stride(), image.height);
  image.orientation = reader.orientation();
  return image;
}

}  // namespace vl8::codec

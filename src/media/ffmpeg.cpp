#include "media/ffmpeg.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
}

#include <cmath>
#include <cstdarg>

#include "core/error.h"
#include "media/codec.h"

namespace vl8::worker {
namespace {

std::string last_error;

void keep_error(void*, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  char line[256];
  vsnprintf(line, sizeof line, format, arguments);
  last_error = line;
  while (!last_error.empty() && (last_error.back() == '\n' || last_error.back() == '.')) last_error.pop_back();
}

const int32_t* display_matrix(const AVStream& s) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVPacketSideData* d =
      av_packet_side_data_get(s.codecpar->coded_side_data, s.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return d && d->size >= 9 * sizeof(int32_t) ? reinterpret_cast<const int32_t*>(d->data) : nullptr;
#else
  size_t size = 0;
  const uint8_t* d = av_stream_get_side_data(&s, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return d && size >= 9 * sizeof(int32_t) ? reinterpret_cast<const int32_t*>(d) : nullptr;
#endif
}

// yuvj* is yuv* with the full range said in the name.
AVPixelFormat without_range(AVPixelFormat f, bool* full) {
  constexpr std::pair<AVPixelFormat, AVPixelFormat> kFull[] = {{AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P},
                                                               {AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P},
                                                               {AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P},
                                                               {AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P},
                                                               {AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P}};
  for (auto [j, plain] : kFull)
    if (f == j) return *full = true, plain;
  return f;
}

}  // namespace

void quiet_ffmpeg() { av_log_set_callback(keep_error); }
std::string last_ffmpeg_error() { return last_error; }

std::string av_reason(int code) {
  if (!last_error.empty()) return last_error;
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

Av<AVCodecContext> open_decoder(const AVStream& s, const std::string& name, int64_t max_pixels) {
  const AVCodec* codec = avcodec_find_decoder(s.codecpar->codec_id);
  if (!codec) fail(ErrorKind::unsupported, "{}: no decoder for {} in this FFmpeg", name, avcodec_get_name(s.codecpar->codec_id));
  if (int64_t(s.codecpar->width) * s.codecpar->height > max_pixels)
    fail_input("{}: {}x{} pixels are more than the limit of {}", name, s.codecpar->width, s.codecpar->height, max_pixels);
  Av<AVCodecContext> c(avcodec_alloc_context3(codec));
  if (!c) throw std::bad_alloc();
  int code = avcodec_parameters_to_context(c.get(), s.codecpar);
  c->pkt_timebase = s.time_base;
  c->thread_count = 1;
  c->max_pixels = max_pixels;
  c->flags |= AV_CODEC_FLAG_BITEXACT;
  if (code >= 0) code = avcodec_open2(c.get(), codec, nullptr);
  if (code < 0) fail_input("{}: the {} decoder refuses it: {}", name, codec->name, av_reason(code));
  return c;
}

// The matrix turns pixels anticlockwise by its angle; EXIF 6 and 8 are a quarter turn clockwise and anticlockwise.
int stream_orientation(const AVStream& s) {
  const int32_t* m = display_matrix(s);
  if (!m) return 1;
  const double angle = av_display_rotation_get(m);
  if (std::isnan(angle)) return 1;
  const bool mirrored = double(m[0]) * double(m[4]) - double(m[1]) * double(m[3]) < 0;
  const int quarters = int(std::lround(angle / 90)) & 3;  // anticlockwise
  constexpr int kPlain[] = {1, 8, 3, 6}, kMirrored[] = {2, 7, 4, 5};
  return mirrored ? kMirrored[quarters] : kPlain[quarters];
}

void FrameToImage::prepare(const AVFrame& f) {
  bool full = f.color_range == AVCOL_RANGE_JPEG;
  const AVPixelFormat format = without_range(AVPixelFormat(f.format), &full);
  if (context_ && f.width == width_ && f.height == height_ && f.format == format_ && f.colorspace == space_ && f.color_range == range_)
    return;
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(format);
  if (!d || f.width < 1 || f.height < 1) fail_input("{}: a frame of an unknown format", name_);
  alpha_ = (d->flags & AV_PIX_FMT_FLAG_ALPHA) || format == AV_PIX_FMT_PAL8;
  // Exact and the same on every CPU; chroma is interpolated, not repeated.
  constexpr int kFlags = SWS_BILINEAR | SWS_BITEXACT | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
  context_.reset(sws_getContext(f.width, f.height, format, f.width, f.height, alpha_ ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24, kFlags,
                                nullptr, nullptr, nullptr));
  if (!context_) fail(ErrorKind::unsupported, "{}: frames of format {} cannot be converted", name_, d->name);
  const int matrix = f.colorspace == AVCOL_SPC_UNSPECIFIED || f.colorspace == AVCOL_SPC_RGB ? SWS_CS_DEFAULT : int(f.colorspace);
  sws_setColorspaceDetails(context_.get(), sws_getCoefficients(matrix), full, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  width_ = f.width, height_ = f.height, format_ = f.format, space_ = f.colorspace, range_ = f.color_range;
  // swscale writes whole vectors: its rows get slack
  rgba_ = alpha_ ? std::make_unique<uint8_t[]>(size_t(width_) * size_t(height_) * 4 + 64) : nullptr;
}

Image FrameToImage::convert(const AVFrame& f, int orientation) {
  prepare(f);
  Image image(f.width, f.height);
  uint8_t* to[4] = {alpha_ ? rgba_.get() : image.rgb.get()};
  const int stride[4] = {f.width * (alpha_ ? 4 : 3)};
  if (sws_scale(context_.get(), f.data, f.linesize, 0, f.height, to, stride) != f.height)
    fail_input("{}: a frame cannot be converted: {}", name_, last_ffmpeg_error());
  if (alpha_) codec::flatten_alpha(rgba_.get(), image.rgb.get(), int64_t(f.width) * f.height, true);
  image.stored_width = f.width, image.stored_height = f.height;
  return orient(std::move(image), orientation);
}

}  // namespace vl8::worker

// Inside media, in a worker only: what the readers of files and of live streams share of FFmpeg.
#pragma once
#include <memory>
#include <string>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include "media/image.h"

namespace vl8::worker {

struct AvDelete {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
};
template <typename T>
using Av = std::unique_ptr<T, AvDelete>;

// FFmpeg's log goes nowhere; its last error line is kept for our messages.
void quiet_ffmpeg();
std::string last_ffmpeg_error();
std::string av_reason(int code);  // last_ffmpeg_error, else FFmpeg's text of the code

// The decoder of a stream: one thread (bit-exact everywhere, and frames come out without delay), frames above
// `max_pixels` refused. Error(input | unsupported) begins with `name`.
Av<AVCodecContext> open_decoder(const AVStream& stream, const std::string& name, int64_t max_pixels);

int stream_orientation(const AVStream& stream);  // EXIF 1..8 of the display matrix

// Decoded frames to upright RGB. Keeps its swscale context while the shape of frames stays.
class FrameToImage {
 public:
  explicit FrameToImage(std::string name) : name_(std::move(name)) {}
  Image convert(const AVFrame& frame, int orientation);

 private:
  void prepare(const AVFrame& frame);
  std::string name_;
  Av<SwsContext> context_;
  int width_ = 0, height_ = 0, format_ = -1, space_ = -1, range_ = -1;
  bool alpha_ = false;
  std::unique_ptr<uint8_t[]> rgba_;
};

}  // namespace vl8::worker

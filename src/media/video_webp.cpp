// Animated WebP: FFmpeg reads only the first picture of one, libwebp reads them all.
#include <sys/stat.h>
#include <unistd.h>
#include <webp/demux.h>

#include <cstring>

#include "core/error.h"
#include "media/codec.h"
#include "media/video_task.h"

namespace vl8::worker {
namespace {

class WebpAnimation : public VideoDecoder {
 public:
  explicit WebpAnimation(const OpenVideo& o) : name_(o.name), data_(read_all(o)) {
    WebPAnimDecoderOptions setup;
    if (!WebPAnimDecoderOptionsInit(&setup)) fail(ErrorKind::internal, "libwebp is of another version than its headers");
    setup.color_mode = MODE_RGBA;
    WebPData view{data_.data(), data_.size()};
    decoder_.reset(WebPAnimDecoderNew(&view, &setup));
    if (!decoder_) fail_input("{}: damaged WebP animation", name_);
    WebPAnimDecoderGetInfo(decoder_.get(), &shape_);
    if (int64_t(shape_.canvas_width) * shape_.canvas_height > o.max_pixels)
      fail_input("{}: {}x{} pixels are more than the limit of {}", name_, shape_.canvas_width, shape_.canvas_height, o.max_pixels);
    if (shape_.frame_count > o.max_frames) fail_input("{}: {} frames are more than the limit of {}", name_, shape_.frame_count, o.max_frames);
    read_times();
    info_.container = info_.codec = "webp";
    info_.width = int(shape_.canvas_width), info_.height = int(shape_.canvas_height), info_.rotation = 1;
  }

  const VideoInfo& info() const override { return info_; }

  Frame frame(int64_t index) override {
    if (index < next_) rewind();
    uint8_t* rgba = nullptr;
    int end_ms = 0;
    for (; next_ <= index; ++next_)
      if (!WebPAnimDecoderGetNext(decoder_.get(), &rgba, &end_ms)) fail_input("{}: frame {} of the animation does not decode", name_, next_);
    Image image(info_.width, info_.height);
    codec::flatten_alpha(rgba, image.rgb.get(), int64_t(info_.width) * info_.height, true);
    image.stored_width = info_.width, image.stored_height = info_.height;
    return {std::move(image), index};
  }

 private:
  static std::vector<uint8_t> read_all(const OpenVideo& o) {
    struct stat s{};
    if (fstat(o.fd, &s) != 0 || s.st_size > int64_t(Limits().max_bytes))
      fail_input("{}: a WebP animation of {} bytes is more than the limit of {}", o.name, s.st_size, Limits().max_bytes);
    std::vector<uint8_t> data(static_cast<size_t>(s.st_size));
    for (size_t done = 0; done < data.size();) {
      ssize_t n = pread(o.fd, data.data() + done, data.size() - done, off_t(done));
      if (n <= 0) fail_input("{}: cannot be read", o.name);
      done += size_t(n);
    }
    return data;
  }
  void rewind() {
    WebPAnimDecoderReset(decoder_.get());
    next_ = 0;
  }
  // A frame begins where the one before it ends.
  void read_times() {
    WebPData view{data_.data(), data_.size()};
    std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&view), WebPDemuxDelete);
    if (!demuxer) fail_input("{}: damaged WebP animation", name_);
    std::vector<double> times;
    WebPIterator it;
    int64_t at_ms = 0;  // whole milliseconds, so that equal steps stay equal
    if (WebPDemuxGetFrame(demuxer.get(), 1, &it)) {
      do times.push_back(double(at_ms) / 1000), at_ms += it.duration;
      while (WebPDemuxNextFrame(&it));
      WebPDemuxReleaseIterator(&it);
    }
    if (times.empty()) fail_input("{}: no frames", name_);
    const double rate = at_ms > 0 ? double(times.size()) * 1000 / double(at_ms) : 0;
    set_times(info_, std::move(times), rate);
  }

  std::string name_;
  std::vector<uint8_t> data_;
  std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder_{nullptr, WebPAnimDecoderDelete};
  WebPAnimInfo shape_{};
  VideoInfo info_;
  int64_t next_ = 0;
};

}  // namespace

bool is_webp(int fd) {
  char head[12];
  return pread(fd, head, 12, 0) == 12 && std::memcmp(head, "RIFF", 4) == 0 && std::memcmp(head + 8, "WEBP", 4) == 0;
}

std::unique_ptr<VideoDecoder> open_webp_animation(const OpenVideo& o) { return std::make_unique<WebpAnimation>(o); }

}  // namespace vl8::worker

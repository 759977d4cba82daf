// Video files through FFmpeg: one pass over the packets for the list of frames, then seeks to the frames that are wanted.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "media/ffmpeg.h"
#include "media/video_task.h"

namespace vl8 {
bool video_files_supported() { return true; }

namespace worker {
namespace {

constexpr int kIoBytes = 1 << 16;
// Demuxers that read one self-contained file. Playlists and scripts that name other files or addresses are not among them.
constexpr const char* kDemuxers =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,h264,hevc,ogg,asf,ivf,m4v,mjpeg,apng,obu,mpegvideo,y4m,yuv4mpegpipe,mxf,nut,wtv,dv";

// The worker cannot open files: FFmpeg reads through the descriptor that it was given.
class FdInput {
 public:
  explicit FdInput(int fd) : fd_(fd) {
    auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBytes));
    if (!buffer) throw std::bad_alloc();
    io_ = avio_alloc_context(buffer, kIoBytes, 0, this, read, nullptr, seek);
    if (!io_) throw std::bad_alloc();
  }
  FdInput(const FdInput&) = delete;
  ~FdInput() {
    av_freep(&io_->buffer);
    avio_context_free(&io_);
  }
  AVIOContext* io() { return io_; }

 private:
  static int read(void* self, uint8_t* to, int size) {
    ssize_t n;
    do n = ::read(static_cast<FdInput*>(self)->fd_, to, size_t(size));
    while (n < 0 && errno == EINTR);
    return n > 0 ? int(n) : n == 0 ? AVERROR_EOF : AVERROR(errno);
  }
  static int64_t seek(void* self, int64_t offset, int whence) {
    const int fd = static_cast<FdInput*>(self)->fd_;
    if (whence == AVSEEK_SIZE) {
      const off_t now = lseek(fd, 0, SEEK_CUR), end = lseek(fd, 0, SEEK_END);
      lseek(fd, now, SEEK_SET);
      return end;
    }
    return lseek(fd, offset, whence & ~AVSEEK_FORCE);
  }
  int fd_;
  AVIOContext* io_ = nullptr;
};

struct Stamp {
  int64_t pts;
  bool key;
};

class FfmpegVideo : public VideoDecoder {
 public:
  explicit FfmpegVideo(const OpenVideo& o) : name_(o.name), input_(o.fd), to_image_(o.name) {
    quiet_ffmpeg();
    open_container();
    decoder_ = open_decoder(*stream_, name_, o.max_pixels);
    packet_.reset(av_packet_alloc()), decoded_.reset(av_frame_alloc()), nearest_.reset(av_frame_alloc());
    if (!packet_ || !decoded_ || !nearest_) throw std::bad_alloc();
    scan(o.max_frames);
    describe();
    rewind(0);
  }

  const VideoInfo& info() const override { return info_; }

  Frame frame(int64_t index) override {
    if (index == held_) return {to_image_.convert(*nearest_, info_.rotation), held_};
    int64_t key = key_before(index);
    if (index < next_ || (!ordinal_ && key > next_)) rewind(key);
    // A key frame whose first pictures need the group before it gives nothing at or before the frame: start earlier.
    while (!decode_up_to(index) && !ordinal_ && key > 0) rewind(key = key_before(key - 1));
    if (held_ < 0) fail_input("{}: no frame decodes: {}", name_, last_ffmpeg_error());
    return {to_image_.convert(*nearest_, info_.rotation), held_};
  }

 private:
  void open_container() {
    AVFormatContext* c = avformat_alloc_context();
    if (!c) throw std::bad_alloc();
    c->pb = input_.io();
    c->format_whitelist = av_strdup(kDemuxers);
    c->protocol_whitelist = av_strdup("");
    int code = avformat_open_input(&c, nullptr, nullptr, nullptr);  // frees c when it fails
    if (code < 0) fail_input("{}: not a video that can be read: {}", name_, av_reason(code));
    format_.reset(c);
    code = avformat_find_stream_info(c, nullptr);
    int best = code < 0 ? code : av_find_best_stream(c, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (best < 0) fail_input("{}: no video in this {} file", name_, c->iformat->name);
    for (unsigned i = 0; i < c->nb_streams; ++i)
      if (int(i) != best) c->streams[i]->discard = AVDISCARD_ALL;
    stream_ = c->streams[best];
  }

  // Every packet is one frame; its header is enough. Packets that are never shown are left out.
  void scan(int64_t max_frames) {
    int code;
    while ((code = av_read_frame(format_.get(), packet_.get())) >= 0) {
      const bool ours = packet_->stream_index == stream_->index;
      const bool shown = !(packet_->flags & AV_PKT_FLAG_DISCARD) && packet_->size > 0;
      info_.cut_off |= ours && (packet_->flags & AV_PKT_FLAG_CORRUPT);
      if (ours && shown && !(packet_->flags & AV_PKT_FLAG_CORRUPT)) {
        ordinal_ |= packet_->pts == AV_NOPTS_VALUE;
        stamps_.push_back({packet_->pts != AV_NOPTS_VALUE ? packet_->pts : packet_->dts, bool(packet_->flags & AV_PKT_FLAG_KEY)});
      }
      av_packet_unref(packet_.get());
      if (int64_t(stamps_.size()) > max_frames) fail_input("{}: more than {} frames, the limit", name_, max_frames);
    }
    info_.cut_off |= code != AVERROR_EOF;
    // Headers that promise much more than the file holds: its end is missing.
    if (stream_->nb_frames > int64_t(stamps_.size()) + 2) info_.cut_off = true;
    if (stamps_.empty()) fail_input("{}: no frames in this video: {}", name_, av_reason(AVERROR_INVALIDDATA));
    if (!ordinal_) std::stable_sort(stamps_.begin(), stamps_.end(), [](const Stamp& a, const Stamp& b) { return a.pts < b.pts; });
    for (size_t i = 1; i < stamps_.size(); ++i) ordinal_ |= stamps_[i].pts <= stamps_[i - 1].pts;
  }

  void describe() {
    const AVRational rate = stream_->avg_frame_rate.num > 0 ? stream_->avg_frame_rate : stream_->r_frame_rate;
    const double nominal = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    std::vector<double> times;
    if (ordinal_ && nominal > 0)
      for (size_t i = 0; i < stamps_.size(); ++i) times.push_back(double(i) / nominal);
    else
      for (size_t i = 0; i < stamps_.size(); ++i)
        times.push_back(std::max(double(stamps_[i].pts - stamps_[0].pts) * av_q2d(stream_->time_base), times.empty() ? 0.0 : times.back()));
    set_times(info_, std::move(times), nominal);
    info_.rotation = stream_orientation(*stream_);
    info_.container = format_->iformat->name;
    info_.codec = avcodec_get_name(stream_->codecpar->codec_id);
    info_.width = stream_->codecpar->width, info_.height = stream_->codecpar->height;
    if (info_.rotation > 4) std::swap(info_.width, info_.height);
  }

  int64_t key_before(int64_t index) const {
    for (int64_t i = std::max<int64_t>(index, 0); i > 0; --i)
      if (stamps_[size_t(i)].key) return i;
    return 0;
  }

  int64_t index_of(int64_t pts) const {  // the frame at or before pts; -1: none
    auto it = std::upper_bound(stamps_.begin(), stamps_.end(), pts, [](int64_t p, const Stamp& s) { return p < s.pts; });
    return int64_t(it - stamps_.begin()) - 1;
  }

  // To a key frame, or, where frames carry no times, to the start.
  void rewind(int64_t key) {
    avcodec_flush_buffers(decoder_.get());
    const int64_t target = ordinal_ ? 0 : key;
    int code = av_seek_frame(format_.get(), stream_->index, stamps_[size_t(target)].pts, AVSEEK_FLAG_BACKWARD);
    if (code < 0 || target == 0) {
      code = avformat_seek_file(format_.get(), stream_->index, INT64_MIN, stamps_[0].pts, stamps_[0].pts, 0);
      if (code < 0) code = av_seek_frame(format_.get(), -1, 0, AVSEEK_FLAG_BYTE | AVSEEK_FLAG_BACKWARD);
    }
    if (code < 0) fail_input("{}: cannot go back in this video: {}", name_, av_reason(code));
    next_ = ordinal_ ? 0 : target, held_ = -1, draining_ = false;
  }

  // Decodes until frame `index` or a later one comes out, and holds the nearest to it. False: all that came out was later.
  bool decode_up_to(int64_t index) {
    while (true) {
      const int code = avcodec_receive_frame(decoder_.get(), decoded_.get());
      if (code == AVERROR(EAGAIN) && !draining_) {
        feed(index);
        continue;
      }
      if (code == AVERROR_EOF || code == AVERROR(EAGAIN)) {
        next_ = info_.frames;
        return held_ >= 0 && held_ <= index;
      }
      if (code < 0) continue;  // a damaged packet: the next one may decode
      const int64_t at = ordinal_ ? next_ : index_of(decoded_->best_effort_timestamp);
      if (at < 0) continue;  // before the first frame that is shown
      next_ = std::max(at + 1, next_);
      const bool before = held_ >= 0 && held_ <= index;
      if (at > index && before && index - held_ <= at - index) return true;
      held_ = at;
      av_frame_unref(nearest_.get());
      av_frame_move_ref(nearest_.get(), decoded_.get());
      if (at >= index) return at == index || before;
    }
  }

  // The next packet to the decoder. Frames that no other needs are skipped until the wanted one.
  void feed(int64_t index) {
    int code = av_read_frame(format_.get(), packet_.get());
    if (code < 0) {
      draining_ = true;
      avcodec_send_packet(decoder_.get(), nullptr);
      return;
    }
    if (packet_->stream_index == stream_->index) {
      const bool wanted = ordinal_ || packet_->pts >= stamps_[size_t(std::min(index, info_.frames - 1))].pts;
      decoder_->skip_frame = wanted ? AVDISCARD_DEFAULT : AVDISCARD_NONREF;
      avcodec_send_packet(decoder_.get(), packet_.get());  // what it refuses is damaged, and skipped
    }
    av_packet_unref(packet_.get());
  }

  std::string name_;
  FdInput input_;
  Av<AVFormatContext> format_;
  AVStream* stream_ = nullptr;
  Av<AVCodecContext> decoder_;
  Av<AVPacket> packet_;
  Av<AVFrame> decoded_, nearest_;
  FrameToImage to_image_;
  std::vector<Stamp> stamps_;  // in order of presentation
  bool ordinal_ = false;       // packets without times: frames are counted, not looked up
  bool draining_ = false;
  VideoInfo info_;
  int64_t next_ = 0;   // first frame that the decoder may still give
  int64_t held_ = -1;  // index of nearest_; -1: nothing is held
};

}  // namespace

std::unique_ptr<VideoDecoder> open_ffmpeg(const OpenVideo& o) { return std::make_unique<FfmpegVideo>(o); }

}  // namespace worker
}  // namespace vl8

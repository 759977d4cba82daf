// The worker's side of media/stream.h: one thread reads and decodes, the newest frame waits to be asked for.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#ifdef VL8_AVDEVICE
extern "C" {
#include <libavdevice/avdevice.h>
}
#endif

#include "core/error.h"
#include "media/ffmpeg.h"
#include "media/video_task.h"

namespace vl8::worker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kProtocols = "rtsp,rtp,udp,tcp,http,https,tls,srtp,rtmp,srt";

class StreamReader {
 public:
  StreamReader(const std::string& address, double timeout_s, int64_t max_pixels) : name_(address), timeout_s_(timeout_s), to_image_(address) {
    quiet_ffmpeg();
    open(address, max_pixels);
    thread_ = std::thread([this] { read(); });
  }
  ~StreamReader() {
    stop_ = true;
    thread_.join();
  }

  struct Taken {
    Image image;
    double time_s;
    int64_t skipped;
  };
  std::optional<Taken> next(double step_s) {
    Av<AVFrame> frame(av_frame_alloc());
    double time_s;
    int64_t skipped;
    {
      std::unique_lock guard(lock_);
      // Between two wanted frames only key frames are decoded, where they come often enough.
      key_only_ = key_gap_s_ > 0 && key_gap_s_ <= step_s;
      changed_.wait(guard, [&] { return ended_ || (have_ > given_ && newest_s_ >= given_s_ + step_s * 0.999) || (have_ > 0 && given_ == 0); });
      if (have_ == given_ || (ended_ && newest_s_ < given_s_ + step_s * 0.999 && given_ > 0)) return std::nullopt;
      if (av_frame_ref(frame.get(), newest_.get()) < 0) throw std::bad_alloc();
      time_s = newest_s_, skipped = given_ > 0 ? have_ - given_ - 1 : 0;
      given_ = have_, given_s_ = newest_s_;
    }
    return Taken{to_image_.convert(*frame, orientation_), time_s, skipped};
  }
  bool failed() const { return failed_; }

 private:
  static int interrupted(void* self) {
    auto* r = static_cast<StreamReader*>(self);
    return r->stop_ || Clock::now() > r->deadline_.load();
  }
  void extend() { deadline_ = Clock::now() + std::chrono::milliseconds(int64_t(timeout_s_ * 1000)); }

  void open(const std::string& address, int64_t max_pixels) {
    extend();
    AVFormatContext* c = avformat_alloc_context();
    if (!c) throw std::bad_alloc();
    c->interrupt_callback = {interrupted, this};
    const AVInputFormat* device = nullptr;
    AVDictionary* options = nullptr;
    if (address.starts_with("/dev/")) {
#ifdef VL8_AVDEVICE
      avdevice_register_all();
      device = av_find_input_format("video4linux2");
#endif
      if (!device) {
        avformat_free_context(c);
        fail(ErrorKind::unsupported, "{}: this vl8 was built without libavdevice, which reads cameras", address);
      }
    } else {
      c->protocol_whitelist = av_strdup(kProtocols);
      av_dict_set(&options, "rtsp_transport", "tcp", 0);  // no torn frames from lost packets
      av_dict_set(&options, "fflags", "nobuffer", 0);
    }
    int code = avformat_open_input(&c, address.c_str(), device, &options);
    av_dict_free(&options);
    if (code < 0) fail_input("{}: cannot be opened: {}", address, av_reason(code));
    format_.reset(c);
    code = avformat_find_stream_info(c, nullptr);
    const int best = code < 0 ? code : av_find_best_stream(c, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (best < 0) fail_input("{}: no video in this stream: {}", address, av_reason(best));
    for (unsigned i = 0; i < c->nb_streams; ++i)
      if (int(i) != best) c->streams[i]->discard = AVDISCARD_ALL;
    stream_ = c->streams[best];
    decoder_ = open_decoder(*stream_, address, max_pixels);
    orientation_ = stream_orientation(*stream_);
    newest_.reset(av_frame_alloc());
    if (!newest_) throw std::bad_alloc();
  }

  void read() {
    Av<AVPacket> packet(av_packet_alloc());
    Av<AVFrame> frame(av_frame_alloc());
    while (!stop_) {
      extend();
      const int code = av_read_frame(format_.get(), packet.get());
      if (code == AVERROR(EAGAIN)) continue;
      if (code < 0) {
        failed_ = code != AVERROR_EOF;
        break;
      }
      if (packet->stream_index == stream_->index) decode(*packet, *frame);
      av_packet_unref(packet.get());
    }
    avcodec_send_packet(decoder_.get(), nullptr);
    take(*frame);
    std::lock_guard guard(lock_);
    ended_ = true;
    changed_.notify_all();
  }

  void decode(const AVPacket& packet, AVFrame& frame) {
    if (packet.flags & AV_PKT_FLAG_KEY) note_key(packet);
    decoder_->skip_frame = key_only_ ? AVDISCARD_NONKEY : AVDISCARD_DEFAULT;
    avcodec_send_packet(decoder_.get(), &packet);  // what it refuses is damaged, and skipped
    take(frame);
  }

  void take(AVFrame& frame) {
    while (avcodec_receive_frame(decoder_.get(), &frame) >= 0) {
      const int64_t pts = frame.best_effort_timestamp;
      std::lock_guard guard(lock_);
      if (first_pts_ == AV_NOPTS_VALUE) first_pts_ = pts;
      newest_s_ = pts != AV_NOPTS_VALUE && first_pts_ != AV_NOPTS_VALUE ? double(pts - first_pts_) * av_q2d(stream_->time_base) : newest_s_;
      av_frame_unref(newest_.get());
      av_frame_move_ref(newest_.get(), &frame);
      ++have_;
      changed_.notify_all();
    }
  }

  void note_key(const AVPacket& p) {
    const int64_t t = p.pts != AV_NOPTS_VALUE ? p.pts : p.dts;
    std::lock_guard guard(lock_);
    if (last_key_ != AV_NOPTS_VALUE && t != AV_NOPTS_VALUE) key_gap_s_ = double(t - last_key_) * av_q2d(stream_->time_base);
    last_key_ = t;
  }

  std::string name_;
  double timeout_s_;
  FrameToImage to_image_;
  Av<AVFormatContext> format_;
  AVStream* stream_ = nullptr;
  Av<AVCodecContext> decoder_;
  int orientation_ = 1;
  std::thread thread_;
  std::atomic<bool> stop_ = false, failed_ = false, key_only_ = false;
  std::atomic<Clock::time_point> deadline_;
  std::mutex lock_;  // of everything below
  std::condition_variable changed_;
  Av<AVFrame> newest_;
  double newest_s_ = 0, given_s_ = 0, key_gap_s_ = 0;
  int64_t have_ = 0, given_ = 0, first_pts_ = AV_NOPTS_VALUE, last_key_ = AV_NOPTS_VALUE;
  bool ended_ = false;
};

class StreamTask : public Task {
 public:
  bool needs_system() const override { return true; }
  std::span<const uint8_t> handle(const Message& m, nlohmann::json& head) override {
    if (m.head.value("op", "") == "open") {
      reader_.emplace(m.head.value("address", ""), m.head.value("timeout_s", 10.0), m.head.value("max_pixels", Limits().max_pixels));
      return {};
    }
    check(reader_.has_value(), "a frame of no stream");
    auto taken = reader_->next(m.head.value("step_s", 0.0));
    if (!taken) {
      head["ended"] = true;
      return {};
    }
    current_ = std::move(taken->image);
    head = image_head(current_);
    head["time_s"] = taken->time_s, head["skipped"] = taken->skipped;
    return {current_.rgb.get(), current_.bytes()};
  }

 private:
  std::optional<StreamReader> reader_;
  Image current_;
};

}  // namespace

std::unique_ptr<Task> make_stream_task() { return std::make_unique<StreamTask>(); }

}  // namespace vl8::worker

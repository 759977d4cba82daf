#include "media/video.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/log.h"
#include "media/video_task.h"

namespace vl8 {
namespace {

struct Fd {
  int fd = -1;
  ~Fd() {
    if (fd >= 0) close(fd);
  }
};

// The file as an open descriptor: a worker may not open files itself.
int open_file(const std::filesystem::path& path, const VideoLimits& limits) {
  const std::string name = path.string();
  int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_input("{}: {}", name, std::strerror(errno));
  struct stat s{};
  const bool ok = fstat(fd, &s) == 0;
  std::string refusal;
  if (!ok || !S_ISREG(s.st_mode)) refusal = "not a file";
  else if (s.st_size == 0) refusal = "the file is empty";
  else if (size_t(s.st_size) > limits.max_bytes)
    refusal = fmt::format("{} bytes, more than the limit of {} for a video", s.st_size, limits.max_bytes);
  if (!refusal.empty()) {
    close(fd);
    fail_input("{}: {}", name, refusal);
  }
  return fd;
}

int memory_file(std::span<const std::byte> data, const std::string& name) {
  if (data.empty()) fail_input("{}: the video is empty", name);
  int fd = memfd_create("vl8-video", MFD_CLOEXEC);
  if (fd < 0) fail(ErrorKind::resource, "{}: no memory for the video: {}", name, std::strerror(errno));
  const char* p = reinterpret_cast<const char*>(data.data());
  for (size_t done = 0; done < data.size();) {
    ssize_t n = write(fd, p + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close(fd);
      fail(ErrorKind::resource, "{}: no memory for {} bytes of video", name, data.size());
    }
    done += size_t(n);
  }
  return fd;
}

VideoInfo read_info(const Worker::Reply& r, const std::string& name, const VideoLimits& limits) {
  VideoInfo i;
  auto get = [&](const char* key, auto& to) {
    auto it = r.head.find(key);
    if (it != r.head.end()) it->get_to(to);
  };
  try {
    get("frames", i.frames), get("fps", i.fps), get("duration", i.duration), get("width", i.width), get("height", i.height);
    get("rotation", i.rotation), get("constant_rate", i.constant_rate), get("cut_off", i.cut_off);
    get("container", i.container), get("codec", i.codec);
  } catch (const nlohmann::json::exception& e) {
    fail_input("{}: the decoder gave an unsound description: {}", name, e.what());
  }
  const size_t wanted = i.constant_rate ? 0 : size_t(std::max<int64_t>(i.frames, 0)) * sizeof(double);
  if (i.frames < 1 || i.frames > limits.max_frames || !(i.fps > 0 && i.fps <= 100000) || r.bytes.size() != wanted)
    fail_input("{}: the decoder gave an unsound description ({} frames, {} frames per second)", name, i.frames, i.fps);
  i.times.resize(wanted / sizeof(double));
  if (wanted) std::memcpy(i.times.data(), r.bytes.data(), wanted);
  return i;
}

}  // namespace

VideoFile::VideoFile(const std::filesystem::path& path, std::optional<double> source_fps, const VideoLimits& limits)
    : name_(path.string()), source_fps_(source_fps), worker_("video", limits.worker) {
  Fd file{open_file(path, limits)};
  open(file.fd, limits);
}

VideoFile::VideoFile(std::span<const std::byte> data, std::string name, std::optional<double> source_fps, const VideoLimits& limits)
    : name_(std::move(name)), source_fps_(source_fps), worker_("video", limits.worker) {
  Fd file{memory_file(data, name_)};
  open(file.fd, limits);
}

void VideoFile::open(int fd, const VideoLimits& limits) {
  Worker::Reply r = worker_.call(
      name_, {{"op", "open"}, {"name", name_}, {"max_pixels", limits.frame.max_pixels}, {"max_frames", limits.max_frames}}, {}, fd);
  info_ = read_info(r, name_, limits);
  if (info_.cut_off)
    spdlog::warn("{}: the file is cut off; its {} whole frames are used ({:.2f} s)", name_, info_.frames, info_.duration);
}

double VideoFile::time(int64_t index) const {
  if (source_fps_) return double(index) / *source_fps_;
  return info_.times.empty() ? double(index) / info_.fps : info_.times[size_t(index)];
}

Image VideoFile::frame(int64_t index) {
  check(index >= 0 && index < count(), "frame {} of {}", index, count());
  Worker::Reply r = worker_.call(name_, {{"op", "frame"}, {"index", index}});
  if (int64_t got = r.head.value("index", index); got != index)
    spdlog::warn("{}: the frame at {:.2f} s does not decode; the one at {:.2f} s is taken", name_, time(index),
                 got >= 0 && got < count() ? time(got) : 0.0);
  return worker::image_from_reply(r, frame_name(index));
}

std::string VideoFile::frame_name(int64_t index) const {
  return fmt::format("{}: frame {} ({:.2f} s)", name_, index, time(index));
}

std::unique_ptr<FrameSource> open_clip(const std::filesystem::path& path, std::optional<double> source_fps) {
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) return std::make_unique<FolderFrames>(path, source_fps);
  if (!std::filesystem::exists(path, ec)) fail_input("{}: no such video file or folder of frames", path.string());
  return std::make_unique<VideoFile>(path, source_fps);
}

namespace worker {

void set_times(VideoInfo& info, std::vector<double> times, double nominal) {
  info.frames = int64_t(times.size());
  const double span = times.back(), n = double(info.frames);
  info.fps = nominal;
  if (!(info.fps > 0) || !std::isfinite(info.fps)) info.fps = span > 0 ? (n - 1) / span : kDefaultSourceFps;
  info.constant_rate = true;
  for (size_t i = 0; i < times.size(); ++i) info.constant_rate &= std::abs(times[i] - double(i) / info.fps) <= 0.5 / info.fps;
  info.duration = info.constant_rate ? n / info.fps : span + 1 / info.fps;
  if (!info.constant_rate) info.times = std::move(times);
}

namespace {

class VideoTask : public Task {
 public:
  std::span<const uint8_t> handle(const Message& m, nlohmann::json& head) override {
    const std::string op = m.head.value("op", "");
    return op == "open" ? open(m, head) : frame(m, head);
  }

 private:
  std::span<const uint8_t> open(const Message& m, nlohmann::json& head) {
    check(m.fd >= 0, "a video without a file");
    file_.fd = m.fd;
    const OpenVideo o{m.fd, m.head.value("name", "video"), m.head.value("max_pixels", Limits().max_pixels),
                      m.head.value("max_frames", VideoLimits().max_frames)};
    decoder_ = is_webp(m.fd) ? open_webp_animation(o) : open_ffmpeg(o);
    const VideoInfo& i = decoder_->info();
    head = {{"frames", i.frames}, {"fps", i.fps}, {"duration", i.duration}, {"width", i.width}, {"height", i.height},
            {"rotation", i.rotation}, {"constant_rate", i.constant_rate}, {"cut_off", i.cut_off},
            {"container", i.container}, {"codec", i.codec}};
    return {reinterpret_cast<const uint8_t*>(i.times.data()), i.times.size() * sizeof(double)};
  }

  std::span<const uint8_t> frame(const Message& m, nlohmann::json& head) {
    check(decoder_ != nullptr, "a frame of no video");
    current_ = decoder_->frame(m.head.value("index", int64_t(0)));
    head = image_head(current_.image);
    head["index"] = current_.index;
    return {current_.image.rgb.get(), current_.image.bytes()};
  }

  Fd file_;
  std::unique_ptr<VideoDecoder> decoder_;
  VideoDecoder::Frame current_;
};

}  // namespace

std::unique_ptr<Task> make_video_task() { return std::make_unique<VideoTask>(); }

}  // namespace worker
}  // namespace vl8

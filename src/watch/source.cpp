#include "watch/source.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "media/frames.h"
#include "media/stream.h"
#include "media/video.h"

namespace vl8::watch {
namespace {
namespace fs = std::filesystem;

// Sleeps in short pieces; false when stopped.
bool wait_until(double steady_s, const std::atomic<bool>& stop) {
  while (!stop) {
    const double left = steady_s - steady_now_s();
    if (left <= 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(int64_t(std::min(left, 0.05) * 1000) + 1));
  }
  return false;
}

double unix_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }
std::string stamp_key(double opened_unix_s, double time_s) { return fmt::format("{:.3f}+{:.3f}", opened_unix_s, time_s); }

SourceFrame crop(Image image, const SourceConfig& c) {
  SourceFrame f;
  if (!c.roi) {
    f.image = std::move(image);
    return f;
  }
  const auto [x, y, w, h] = *c.roi;
  if (x + w > image.width || y + h > image.height)
    fail_input("{}: the region {},{} of {}x{} does not lie in frames of {}x{}", c.name, x, y, w, h, image.width, image.height);
  f.image = Image(w, h);
  for (int r = 0; r < h; ++r) std::memcpy(f.image.row(r), image.row(y + r) + 3 * x, f.image.stride());
  f.image.stored_width = w, f.image.stored_height = h;
  f.roi_x = x, f.roi_y = y;
  return f;
}

// A file in its own time (live) or frame after frame as fast as they are dealt with.
class FileSource : public Source {
 public:
  explicit FileSource(const SourceConfig& c) : config_(c), clip_(open_clip(c.input)) {
    rate_ = c.rate > 0 ? c.rate : clip_->fps().value_or(kDefaultSourceFps);
    length_s_ = clip_->time(clip_->count() - 1) + 1 / clip_->fps().value_or(kDefaultSourceFps);
  }

  std::optional<SourceFrame> next(const std::atomic<bool>& stop, const std::function<bool(const std::string&)>& skip) override {
    if (started_s_ < 0) started_s_ = steady_now_s();
    while (!stop) {
      const double step = 1 / rate_;
      int64_t dropped = 0;
      if (config_.live) {
        const double behind = steady_now_s() - started_s_ - at_s_;
        if (behind > step) dropped = int64_t(behind / step), at_s_ += double(dropped) * step;
        if (!wait_until(started_s_ + at_s_, stop)) return std::nullopt;
      }
      const int64_t round = int64_t(at_s_ / length_s_);
      if (round > 0 && !config_.repeat) return std::nullopt;
      const double in_clip = at_s_ - double(round) * length_s_;
      const int64_t index = std::min(frames_between(*clip_, 0, std::max(in_clip, clip_->time(0))).end - 1, clip_->count() - 1);
      const double due = config_.live ? started_s_ + at_s_ : steady_now_s();
      at_s_ += step;
      if (index == last_index_ && round == last_round_) continue;
      last_index_ = index, last_round_ = round;
      // Played as a camera, every run is a new one; worked through, a frame has one name for good.
      const std::string name = fs::path(config_.input).filename().string();
      const std::string key = config_.live ? stamp_key(opened_unix_s_, clip_->time(index) + double(round) * length_s_)
                                           : fmt::format("{}:{}{}", name, index, round > 0 ? fmt::format("#{}", round) : "");
      if (skip(key)) continue;
      SourceFrame f = crop(clip_->frame(index), config_);
      f.key = key, f.time_s = clip_->time(index) + double(round) * length_s_, f.due_s = due, f.dropped = dropped;
      return f;
    }
    return std::nullopt;
  }

 private:
  SourceConfig config_;
  std::unique_ptr<FrameSource> clip_;
  double started_s_ = -1, at_s_ = 0, length_s_ = 0;
  double opened_unix_s_ = unix_now();
  int64_t last_index_ = -1, last_round_ = -1;
};

// Pictures that are put into a folder, in natural order of their names. A file counts once its size has stood still for a look.
class FolderSource : public Source {
 public:
  explicit FolderSource(const SourceConfig& c) : config_(c) {
    rate_ = c.rate;
  }

  std::optional<SourceFrame> next(const std::atomic<bool>& stop, const std::function<bool(const std::string&)>& skip) override {
    while (!stop) {
      if (queue_.empty()) scan(skip);
      if (queue_.empty()) {
        if (!config_.live && growing_.empty()) return std::nullopt;
        if (!wait_until(steady_now_s() + 0.1, stop)) return std::nullopt;
        continue;
      }
      if (rate_ > 0 && !wait_until(last_s_ + 1 / rate_, stop)) return std::nullopt;
      const fs::path file = queue_.front();
      queue_.erase(queue_.begin());
      last_s_ = steady_now_s();
      try {
        SourceFrame f = crop(load_image(file), config_);
        f.key = file.filename().string(), f.time_s = last_s_, f.due_s = last_s_;
        return f;
      } catch (const Error& e) {
        spdlog::warn("{}: {}", config_.name, e.what());
        broken_.insert(file.filename().string());
      }
    }
    return std::nullopt;
  }

 private:
  void scan(const std::function<bool(const std::string&)>& skip) {
    std::error_code ec;
    std::map<std::string, uintmax_t> sizes;
    std::vector<fs::path> ready;
    for (const auto& e : fs::directory_iterator(config_.input, ec)) {
      const std::string name = e.path().filename().string();
      if (name[0] == '.' || !e.is_regular_file(ec) || seen_.contains(name) || broken_.contains(name)) continue;
      const uintmax_t size = e.file_size(ec);
      auto before = growing_.find(name);
      const bool still = !config_.live || (before != growing_.end() && before->second == size);
      if (still && size > 0) ready.push_back(e.path());
      else sizes[name] = size;
    }
    growing_ = std::move(sizes);
    std::sort(ready.begin(), ready.end(), [](const fs::path& a, const fs::path& b) { return natural_less(a.filename().string(), b.filename().string()); });
    for (const fs::path& p : ready) {
      seen_.insert(p.filename().string());
      if (!skip(p.filename().string())) queue_.push_back(p);
    }
  }

  SourceConfig config_;
  std::vector<fs::path> queue_;
  std::set<std::string> seen_, broken_;
  std::map<std::string, uintmax_t> growing_;
  double last_s_ = -1e9;
};

// A live address: opened again, with growing pauses, when it breaks off.
class LiveSource : public Source {
 public:
  explicit LiveSource(const SourceConfig& c) : config_(c) {
    rate_ = c.rate > 0 ? c.rate : 1;
  }

  std::optional<SourceFrame> next(const std::atomic<bool>& stop, const std::function<bool(const std::string&)>&) override {
    while (!stop) {
      try {
        if (!stream_) open();
        if (auto frame = stream_->next(1 / rate_)) {
          pause_s_ = 0.5;
          SourceFrame f = crop(std::move(frame->image), config_);
          f.time_s = frame->time_s, f.due_s = steady_now_s();
          f.key = stamp_key(opened_unix_s_, frame->time_s);
          return f;
        }
        spdlog::warn("{}: {} ended", config_.name, config_.input);
        stream_.reset();
        if (config_.input.starts_with("udp:") && !config_.live) return std::nullopt;
      } catch (const Error& e) {
        if (e.kind() == ErrorKind::cancelled) throw;
        spdlog::warn("{}: {}", config_.name, e.what());
        stream_.reset();
      }
      if (!wait_until(steady_now_s() + pause_s_, stop)) break;
      pause_s_ = std::min(pause_s_ * 2, 30.0);
    }
    return std::nullopt;
  }

 private:
  void open() {
    stream_ = std::make_unique<LiveStream>(config_.input);
    opened_unix_s_ = unix_now();
  }
  SourceConfig config_;
  std::unique_ptr<LiveStream> stream_;
  double opened_unix_s_ = 0, pause_s_ = 0.5;
};

}  // namespace

double steady_now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::unique_ptr<Source> open_source(const SourceConfig& c) {
  if (is_stream_address(c.input)) return std::make_unique<LiveSource>(c);
  std::error_code ec;
  if (fs::is_directory(c.input, ec)) return std::make_unique<FolderSource>(c);
  return std::make_unique<FileSource>(c);
}

}  // namespace vl8::watch

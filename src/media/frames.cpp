#include "media/frames.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/log.h"

namespace vl8 {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 10> kSuffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp",
                                                        ".gif", ".ppm",  ".pgm", ".pbm",  ".pnm"};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
}
bool digit(char c) {
  return c >= '0' && c <= '9';
}

bool has_picture_suffix(const fs::path& path) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), lower);
  return std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end();
}

double round_half_even(double x) {
  double down = std::floor(x), rest = x - down;
  if (rest != 0.5) return rest < 0.5 ? down : down + 1;
  return std::fmod(down, 2) == 0 ? down : down + 1;
}

constexpr int64_t kMaxSampledFrames = 1 << 20;

void check_fps(double fps, std::string_view what) {
  if (!(fps > 0 && fps <= 100000))
    fail_usage("{} of {} frames per second: it must be more than 0", what, fps);
}

// n equally spaced values over 0 .. total-1: i * ((total-1)/(n-1)), the last one exact, each rounded half to
// even.
std::vector<int64_t> spread(int64_t total, int64_t n) {
  std::vector<int64_t> indices;
  const double step = n > 1 ? double(total - 1) / double(n - 1) : 0;
  for (int64_t i = 0; i < n; ++i)
    indices.push_back(i > 0 && i == n - 1 ? total - 1 : int64_t(round_half_even(double(i) * step)));
  return indices;
}

}  // namespace

std::string FrameSource::frame_name(int64_t index) const {
  return fmt::format("frame {} of {}", index, name());
}

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      size_t zero_i = i, zero_j = j;
      while (zero_i < a.size() && a[zero_i] == '0') ++zero_i;
      while (zero_j < b.size() && b[zero_j] == '0') ++zero_j;
      size_t end_i = zero_i, end_j = zero_j;
      while (end_i < a.size() && digit(a[end_i])) ++end_i;
      while (end_j < b.size() && digit(b[end_j])) ++end_j;
      if (end_i - zero_i != end_j - zero_j) return end_i - zero_i < end_j - zero_j;
      int order = a.substr(zero_i, end_i - zero_i).compare(b.substr(zero_j, end_j - zero_j));
      if (order != 0) return order < 0;
      i = end_i, j = end_j;
      continue;
    }
    auto x = uint8_t(lower(a[i])), y = uint8_t(lower(b[j]));
    if (x != y) return x < y;
    ++i, ++j;
  }
  if (i < a.size() || j < b.size()) return i == a.size();
  return a < b;
}

FolderFrames::FolderFrames(const fs::path& folder, std::optional<double> fps, Limits limits)
    : folder_(folder), fps_(fps), limits_(limits) {
  std::error_code ec;
  if (!fs::is_directory(folder, ec)) fail_input("{} is not a folder of frames", folder.string());
  if (fps) check_fps(*fps, "a source");
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const fs::path& path = it->path();
    if (path.filename().string()[0] != '.' && has_picture_suffix(path) && it->is_regular_file(ec))
      files_.push_back(path);
  }
  if (ec) fail_input("cannot read the folder {}: {}", folder.string(), ec.message());
  if (files_.empty())
    fail_input("{}: no frames in this folder (files named .jpg, .jpeg, .png, .webp, .bmp, .gif or .ppm)",
               folder.string());
  std::sort(files_.begin(), files_.end(), [](const fs::path& a, const fs::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  if (!fps)
    spdlog::warn(
        "{}: the frame rate of the source is not given, taking {} frames per second; timestamps may be wrong",
        folder.string(), kDefaultSourceFps);
}

Image FolderFrames::frame(int64_t index) {
  check(index >= 0 && index < count(), "frame {} of {}", index, count());
  return load_image(files_[size_t(index)], limits_);
}

MemoryFrames::MemoryFrames(std::vector<Image> frames, std::optional<double> fps)
    : frames_(std::move(frames)), fps_(fps) {
  if (fps) check_fps(*fps, "a source");
}

std::vector<int64_t> sample_frames(int64_t total, double source_fps, const FrameSampling& s) {
  check(total > 0, "a clip of {} frames", total);
  if (s.num_frames) {
    if (*s.num_frames < 1 || *s.num_frames > kMaxSampledFrames)
      fail_usage("num_frames {}: it must be from 1 to {}", *s.num_frames, kMaxSampledFrames);
    return spread(total, s.cap_num_frames ? std::min(*s.num_frames, s.max_frames) : *s.num_frames);
  }
  check_fps(source_fps, "a source");
  check_fps(s.fps, "a target");
  const double wanted = std::trunc(double(total) / source_fps * s.fps);
  const int64_t n = int64_t(std::min(wanted, double(s.max_frames)));
  return spread(total, std::min({std::max(n, s.min_frames), s.max_frames, total}));
}

std::vector<double> group_timestamps(std::vector<int64_t>& indices, double source_fps, int temporal) {
  check_fps(source_fps, "a source");
  return group_timestamps(indices, temporal, [&](int64_t i) { return double(i) / source_fps; });
}

std::vector<double> group_timestamps(std::vector<int64_t>& indices, int temporal, const std::function<double(int64_t)>& time_of) {
  check(!indices.empty() && temporal > 0, "{} frames in groups of {}", indices.size(), temporal);
  while (indices.size() % size_t(temporal)) indices.push_back(indices.back());
  std::vector<double> times;
  for (size_t i = 0; i < indices.size(); i += size_t(temporal))
    times.push_back((time_of(indices[i]) + time_of(indices[i + size_t(temporal) - 1])) / 2);
  return times;
}

FrameRange frames_between(const FrameSource& source, double begin_s, double end_s) {
  if (!(begin_s >= 0 && end_s >= begin_s))
    fail_usage("a part from {} to {} seconds: it must begin at 0 or later and not end before it begins", begin_s, end_s);
  // Times ascend: two bisections.
  auto first_from = [&](auto past) {
    int64_t low = 0, high = source.count();
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (past(source.time(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  FrameRange r{first_from([&](double t) { return t >= begin_s; }), first_from([&](double t) { return t > end_s; })};
  if (r.first >= r.end)
    fail_input("{}: no frames from {} to {} seconds; its last frame is at {:.2f} seconds", source.name(), begin_s, end_s,
               source.time(source.count() - 1));
  return r;
}

std::string stamp_text(double seconds) {
  char digits[64];  // to_chars rounds the exact binary value, as Python does, whatever the locale
  auto end = std::to_chars(digits, digits + sizeof digits, seconds, std::chars_format::fixed, 1);
  check(end.ec == std::errc(), "a timestamp of {} seconds", seconds);
  return fmt::format("<{} seconds>", std::string_view(digits, size_t(end.ptr - digits)));
}

}  // namespace vl8

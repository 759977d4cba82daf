// Clips as sources of frames, which frames are taken (spec 5.5) and how their times are written (spec 5.7).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/image.h"

namespace vl8 {

inline constexpr double kDefaultSourceFps = 24;  // where a source does not know its own (spec 5.5)

class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual std::string name() const = 0;           // for messages
  virtual int64_t count() const = 0;              // frames
  virtual std::optional<double> fps() const = 0;  // of the source; nothing when it is not known
  // Seconds of frame `index` from the start: index / fps, unless the source knows better (a variable rate).
  virtual double time(int64_t index) const { return double(index) / fps().value_or(kDefaultSourceFps); }
  virtual Image frame(int64_t index) = 0;  // 0 .. count() - 1, upright RGB
  virtual std::string frame_name(int64_t index) const;
};

// A folder of pictures in natural order (frame2 before frame10). Files that are not pictures by content are
// an error unless their name begins with a dot or they have no picture suffix at all. `fps`: of the source.
class FolderFrames : public FrameSource {
 public:
  explicit FolderFrames(const std::filesystem::path& folder, std::optional<double> fps = {},
                        Limits limits = {});
  std::string name() const override { return folder_.string(); }
  int64_t count() const override { return int64_t(files_.size()); }
  std::optional<double> fps() const override { return fps_; }
  Image frame(int64_t index) override;
  std::string frame_name(int64_t index) const override { return files_[size_t(index)].string(); }
  const std::vector<std::filesystem::path>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
  std::optional<double> fps_;
  Limits limits_;
};

// Frames that are already in memory.
class MemoryFrames : public FrameSource {
 public:
  explicit MemoryFrames(std::vector<Image> frames, std::optional<double> fps = {});
  std::string name() const override { return "frames in memory"; }
  int64_t count() const override { return int64_t(frames_.size()); }
  std::optional<double> fps() const override { return fps_; }
  Image frame(int64_t index) override { return frames_[size_t(index)].clone(); }

 private:
  std::vector<Image> frames_;
  std::optional<double> fps_;
};

// Digits compare as numbers, letters without case; ties fall back to the bytes. A strict weak order.
bool natural_less(std::string_view a, std::string_view b);

// How many frames, and from where. Precedence: num_frames says how many; without it fps does (at least min_frames). max_frames
// caps both. Only an fps count is also capped by the number of frames there are; num_frames may exceed it, then frames repeat.
struct FrameSampling {
  double fps = 2;  // target
  std::optional<int64_t> num_frames;
  int64_t min_frames = 4, max_frames = 768;
  bool cap_num_frames = false;  // whether max_frames was asked for and so caps num_frames too (the reference does not)
};

// Indices of the frames taken out of `total`, ascending.
std::vector<int64_t> sample_frames(int64_t total, double source_fps, const FrameSampling& sampling);

// Pads `indices` with its last entry to a multiple of `temporal`; returns the time of each group in seconds.
std::vector<double> group_timestamps(std::vector<int64_t>& indices, double source_fps, int temporal);
std::vector<double> group_timestamps(std::vector<int64_t>& indices, int temporal, const std::function<double(int64_t)>& time_of);

// Frames whose time lies in [begin, end] seconds, as first and one past the last. Error(input) names the clip's length when
// there are none.
struct FrameRange {
  int64_t first = 0, end = 0;
};
FrameRange frames_between(const FrameSource& source, double begin_s, double end_s);
std::string stamp_text(double seconds);  // "<1.2 seconds>": one decimal, exact ties to even

}  // namespace vl8

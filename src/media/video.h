// Video files as sources of frames: MP4, MOV, MKV, WebM, AVI, MPEG-TS and GIF through FFmpeg (when vl8 was built with it),
// animated WebP through libwebp. Decoding happens in a worker (media/worker.h): a hostile file costs one Error.
//
// - Frame i is the i-th frame in order of presentation, counted by reading the file once without decoding (headers lie).
// - Only the frames that are asked for are decoded to pixels: the reader seeks to the key frame before, skips frames that
//   no other frame needs, and converts nothing but the frame itself.
// - Pixels: rotation of the container applied; YUV to RGB with the matrix and range of the stream (BT.601 where it names
//   none, as the reference's readers do), swscale's exact code, the same on every CPU. Non-square pixels stay as stored.
// - Times: frame i stands at i / fps where the stream keeps a constant rate within half a frame (the reference's rule,
//   spec 5.7), else at its own presentation time. The first frame is at 0.
// - A frame whose data is damaged is replaced by the nearest one that decodes, with a warning that names the second; a
//   file that is cut off ends where its data ends, with a warning. A file without one frame is an Error.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/frames.h"
#include "media/worker.h"

namespace vl8 {

struct VideoInfo {
  int64_t frames = 0;
  double fps = 0;             // average
  double duration = 0;        // seconds, frames / fps or the end of the last frame
  int width = 0, height = 0;  // upright
  int rotation = 0;           // EXIF orientation that was applied, 1: none
  bool constant_rate = true;
  bool cut_off = false;  // the file ends before its last frame
  std::string container, codec;
  std::vector<double> times;  // seconds of each frame; empty when the rate is constant
};

struct VideoLimits {
  Limits frame;                              // of one frame
  int64_t max_frames = int64_t(10) << 20;    // of the file
  size_t max_bytes = size_t(64) << 30;       // of the file
  WorkerLimits worker;
};

class VideoFile : public FrameSource {
 public:
  // `source_fps` overrules the file: frame i then stands at i / source_fps.
  explicit VideoFile(const std::filesystem::path& path, std::optional<double> source_fps = {}, const VideoLimits& limits = {});
  // A file in memory (an upload); `name` is what messages call it.
  VideoFile(std::span<const std::byte> data, std::string name, std::optional<double> source_fps = {},
            const VideoLimits& limits = {});

  std::string name() const override { return name_; }
  int64_t count() const override { return info_.frames; }
  std::optional<double> fps() const override { return source_fps_ ? source_fps_ : std::optional<double>(info_.fps); }
  double time(int64_t index) const override;
  Image frame(int64_t index) override;
  std::string frame_name(int64_t index) const override;
  const VideoInfo& info() const { return info_; }
  int worker_pid() const { return worker_.pid(); }

 private:
  void open(int fd, const VideoLimits& limits);
  std::string name_;
  std::optional<double> source_fps_;
  VideoInfo info_;
  Worker worker_;
};

bool video_files_supported();  // built with FFmpeg

// What --video names: a folder of frames or a video file.
std::unique_ptr<FrameSource> open_clip(const std::filesystem::path& path, std::optional<double> source_fps = {});

}  // namespace vl8

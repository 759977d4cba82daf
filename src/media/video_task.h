// Inside media only: what a worker does with a video. Decoders run in the worker alone.
#pragma once
#include <memory>

#include "media/video.h"
#include "media/worker_image.h"

namespace vl8::worker {

std::unique_ptr<Task> make_video_task();
std::unique_ptr<Task> make_stream_task();  // media/stream.h

// One open clip. Frames may be asked for in any order; ascending is fast.
class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;
  virtual const VideoInfo& info() const = 0;
  struct Frame {
    Image image;
    int64_t index;  // the frame that was taken; not the one asked for when that one does not decode
  };
  virtual Frame frame(int64_t index) = 0;
};

struct OpenVideo {
  int fd;  // readable and seekable; stays the caller's
  std::string name;
  int64_t max_pixels, max_frames;
};
std::unique_ptr<VideoDecoder> open_webp_animation(const OpenVideo& o);
std::unique_ptr<VideoDecoder> open_ffmpeg(const OpenVideo& o);  // Error(unsupported) when built without FFmpeg
bool is_webp(int fd);

// Fills in rate, duration and times from presentation times in seconds (ascending, from 0). `nominal` is the rate that the
// container names, 0 for none.
void set_times(VideoInfo& info, std::vector<double> times, double nominal);

}  // namespace vl8::worker

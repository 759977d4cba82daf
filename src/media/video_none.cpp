// In the place of video_ffmpeg.cpp where FFmpeg was not there at configure time.
#include "core/error.h"
#include "media/video_task.h"

namespace vl8 {
bool video_files_supported() { return false; }

namespace worker {
namespace {
constexpr const char* kMissing =
    "this vl8 was built without FFmpeg: install libavformat-dev, libavcodec-dev and libswscale-dev and build again, or give a folder of frames";
}

std::unique_ptr<VideoDecoder> open_ffmpeg(const OpenVideo& o) { fail(ErrorKind::unsupported, "{}: {}", o.name, kMissing); }

std::unique_ptr<Task> make_stream_task() { fail(ErrorKind::unsupported, "{}", kMissing); }

}  // namespace worker
}  // namespace vl8

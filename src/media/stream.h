// Live video: RTSP, HTTP, UDP and cameras (/dev/videoN) through FFmpeg, in a worker that may use the network but shares
// nothing else with this process. The worker reads all the time and keeps the newest frame, so a slow reader sees what is now
// and not what was; frames in between are counted.
#pragma once
#include <optional>
#include <string>

#include "media/worker.h"

namespace vl8 {

bool is_stream_address(const std::string& input);  // has "://", or is a video device

struct LiveFrame {
  Image image;
  double time_s = 0;     // since the first frame, by the stream's own clock
  int64_t skipped = 0;   // frames that came after the last one given and were not this one
};

class LiveStream {
 public:
  // Error(input) names the address when it cannot be opened within `timeout_s`. Tells FFmpeg nothing else but the address.
  explicit LiveStream(const std::string& address, double timeout_s = 10, const Limits& limits = {});
  // The newest frame that is at least `step_s` after the last one given; waits for it. Nothing at the end of the stream.
  std::optional<LiveFrame> next(double step_s);
  const std::string& address() const { return address_; }

 private:
  std::string address_;
  Worker worker_;
};

}  // namespace vl8

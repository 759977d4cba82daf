// Where frames come from: video files (only the frames that are looked at are decoded), folders that fill, live addresses and
// cameras. next() waits until a frame is due.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "media/image.h"
#include "watch/config.h"

namespace vl8::watch {

struct SourceFrame {
  Image image;       // the region of interest
  std::string key;   // names the frame for good: file name, frame number, or time of the stream
  double time_s = 0; // in the source
  double due_s = 0;  // steady clock when it was there to be looked at: what latency is counted from
  int64_t dropped = 0;  // wanted frames before it that were not taken because the watcher was late
  int roi_x = 0, roi_y = 0;
};

class Source {
 public:
  virtual ~Source() = default;
  // Nothing at the end, or when `stop` was set. Frames for which skip(key) is true are passed over.
  virtual std::optional<SourceFrame> next(const std::atomic<bool>& stop, const std::function<bool(const std::string&)>& skip) = 0;
  void set_rate(double rate) { rate_ = rate; }
  double rate() const { return rate_; }

 protected:
  std::atomic<double> rate_ = 1;
};

// Error(input) where a file or folder cannot be opened; a live address is tried again until it answers.
std::unique_ptr<Source> open_source(const SourceConfig& config);
double steady_now_s();

}  // namespace vl8::watch

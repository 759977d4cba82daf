#include "media/stream.h"

#include "core/error.h"
#include "media/worker_image.h"

namespace vl8 {
namespace {

WorkerLimits stream_limits(double timeout_s) {
  WorkerLimits l;
  l.cpu_seconds = 1 << 30;  // runs for months
  l.call_seconds = timeout_s + 20;
  return l;
}

}  // namespace

bool is_stream_address(const std::string& input) { return input.find("://") != std::string::npos || input.starts_with("/dev/video"); }

LiveStream::LiveStream(const std::string& address, double timeout_s, const Limits& limits)
    : address_(address), worker_("stream", stream_limits(timeout_s)) {
  worker_.call(address_, {{"op", "open"}, {"address", address}, {"timeout_s", timeout_s}, {"max_pixels", limits.max_pixels}});
}

std::optional<LiveFrame> LiveStream::next(double step_s) {
  Worker::Reply r = worker_.call(address_, {{"op", "next"}, {"step_s", step_s}});
  if (r.head.value("ended", false)) return std::nullopt;
  return LiveFrame{worker::image_from_reply(r, address_), r.head.value("time_s", 0.0), r.head.value("skipped", int64_t(0))};
}

}  // namespace vl8

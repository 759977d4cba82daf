// Processes that decode pictures (media/worker.h), kept ready: one that hangs, crashes or eats memory costs one request and
// is replaced.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "media/worker.h"
#include "server/server_config.h"

namespace vl8 {

class DecoderPool {
 public:
  explicit DecoderPool(const MediaLimits& limits);

  struct Picture {
    std::string pnm;  // upright RGB as a binary PNM file: what Engine::prepare takes
    int64_t pixels = 0;
  };
  // Blocks, at most for limits.decode_timeout_s once a worker is free, and as long again for one to become free. param names
  // the field in errors: ApiError(400) where the picture is at fault, 503 where no decoder is free.
  Picture decode(const std::string& bytes, const std::string& param);

  void set_limits(const MediaLimits& limits);  // sizes, and times of workers to come; the number of processes stays
  struct Counters {
    int64_t decoded = 0, refused = 0, lost = 0;
  };
  Counters counters() const;

 private:
  struct Lease;
  std::unique_ptr<Worker> take(double timeout_s);
  void give(std::unique_ptr<Worker> worker);

  mutable std::mutex mutex_;
  std::condition_variable free_;
  MediaLimits limits_;
  std::vector<std::unique_ptr<Worker>> idle_;
  int out_ = 0;  // workers in use
  Counters counters_;
};

}  // namespace vl8

// Pictures are decoded in processes of their own: a decoder that hangs, crashes or eats memory costs one request. The
// program starts itself again as `vl8 decode-worker`; such a process has no files, no network, little memory, and dies with
// its parent. What comes back is plain pixels, which the server reads with its own few lines of code.
#pragma once
#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/server_config.h"

namespace vl8 {

class DecoderPool {
 public:
  // command: program and arguments of a worker; {} is this program and "decode-worker".
  DecoderPool(const MediaLimits& limits, std::vector<std::string> command = {});
  ~DecoderPool();

  struct Picture {
    std::string pnm;  // upright RGB as a binary PNM file: what Engine::prepare takes
    int64_t pixels = 0;
  };
  // Blocks, at most for limits.decode_timeout_s once a worker is free, and as long again for one to become free. param names
  // the field in errors: ApiError(400) where the picture is at fault, 503 where no decoder is free.
  Picture decode(const std::string& bytes, const std::string& param);

  void set_limits(const MediaLimits& limits);  // sizes and times; the number of processes stays
  struct Counters {
    int64_t decoded = 0, refused = 0, killed = 0, died = 0;
  };
  Counters counters() const;

 private:
  struct Worker;
  struct Lease;
  std::unique_ptr<Worker> take(double timeout_s);
  void give(std::unique_ptr<Worker> worker);
  std::unique_ptr<Worker> start() const;

  std::vector<std::string> command_;
  mutable std::mutex mutex_;
  std::condition_variable free_;
  MediaLimits limits_;
  std::vector<std::unique_ptr<Worker>> idle_;
  int out_ = 0;  // workers in use
  Counters counters_;
};

// The other side: answers requests on file descriptor 3 until it is closed. Returns the exit code.
int run_decode_worker(int64_t memory_bytes);

}  // namespace vl8

// Decoding of untrusted pictures and clips in a process of its own: this program once more, with a hidden command, under
// limits of memory and processor time and (on Linux x86-64 and arm64) without the system calls that open files, make
// connections or start programs. A hostile file costs one request: the process dies, the caller gets one Error.
//
//   Worker worker("image");                          // a row of the table in worker_main.cpp
//   Worker::Reply r = worker.call({{"name", name}}, bytes.data(), bytes.size());
//
// A program that starts workers must hand its main over when asked:
//   if (is_media_worker(argc, argv)) return media_worker_main(argv);
// Programs without that line (tests, library users) name one that has it: set_worker_program, or VL8_WORKER.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/image.h"

namespace vl8 {

namespace worker {
enum class Receive : uint8_t { ok, closed, late, broken };  // how a message ended
}

struct WorkerLimits {
  size_t memory_bytes = size_t(4) << 30;  // address space of the process
  int cpu_seconds = 300;                  // of its whole life
  double call_seconds = 120;              // wall clock of one call
};

bool is_media_worker(int argc, char** argv);
int media_worker_main(char** argv);
void set_worker_program(const std::filesystem::path& program);

// One process. Not for two threads at once. Moves, does not copy.
class Worker {
 public:
  // Starts the process. Error(resource) when that fails, Error(usage) for a program that cannot be a worker.
  explicit Worker(std::string_view task, const WorkerLimits& limits = {});
  ~Worker();  // ends it
  Worker(Worker&& other) noexcept;
  Worker& operator=(Worker&& other) noexcept;

  struct Reply {
    nlohmann::json head;
    std::vector<uint8_t> bytes;
  };
  // Errors of the task arrive as they were thrown. A process that died or ran out of time gives Error(input) that begins
  // with `what` (the name of the file); after it the worker is gone and every further call fails. `fd` stays the caller's.
  Reply call(std::string_view what, const nlohmann::json& head, std::span<const std::byte> bytes = {}, int fd = -1);
  bool alive() const { return socket_ >= 0; }
  int pid() const { return pid_; }

 private:
  [[noreturn]] void fail_dead(std::string_view what, worker::Receive why);
  void end();
  int socket_ = -1, pid_ = -1;
  WorkerLimits limits_;
};

// decode_image (media/image.h) in a worker of its own: the same pixels, the same errors.
Image decode_image_isolated(std::span<const std::byte> data, std::string_view name, const Limits& limits = {},
                            const DecodeOptions& options = {});

}  // namespace vl8

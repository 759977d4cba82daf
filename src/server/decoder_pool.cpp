#include "server/decoder_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "core/log.h"
#include "server/decoder_protocol.h"

extern char** environ;

namespace vl8 {
namespace {

using Clock = std::chrono::steady_clock;

// Waits until the descriptor is ready; false when the time is over.
bool wait_ready(int fd, short events, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd p{fd, events, 0};
    const int n = poll(&p, 1, int(std::min<int64_t>(left, 1000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

enum class Io : uint8_t { done, late, gone };

Io send_all(int fd, const void* data, size_t bytes, Clock::time_point until) {
  for (const char* p = static_cast<const char*>(data); bytes > 0;) {
    const ssize_t n = send(fd, p, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) p += n, bytes -= size_t(n);
    else if (n < 0 && errno == EAGAIN) {
      if (!wait_ready(fd, POLLOUT, until)) return Io::late;
    } else if (!(n < 0 && errno == EINTR)) return Io::gone;
  }
  return Io::done;
}

Io receive_all(int fd, void* data, size_t bytes, Clock::time_point until) {
  for (char* p = static_cast<char*>(data); bytes > 0;) {
    const ssize_t n = recv(fd, p, bytes, MSG_DONTWAIT);
    if (n > 0) p += n, bytes -= size_t(n);
    else if (n < 0 && errno == EAGAIN) {
      if (!wait_ready(fd, POLLIN, until)) return Io::late;
    } else if (!(n < 0 && errno == EINTR)) return Io::gone;
  }
  return Io::done;
}

}  // namespace

struct DecoderPool::Worker {
  pid_t pid = -1;
  int fd = -1;
  ~Worker() {
    if (fd >= 0) close(fd);
    if (pid > 0) kill(pid, SIGKILL), waitpid(pid, nullptr, 0);
  }
};

DecoderPool::DecoderPool(const MediaLimits& limits, std::vector<std::string> command) : command_(std::move(command)), limits_(limits) {
  if (command_.empty()) command_ = {"/proc/self/exe", "decode-worker", std::to_string(limits.decoder_memory_bytes)};
  for (int i = 0; i < limits.decoders; ++i) idle_.push_back(start());
}
DecoderPool::~DecoderPool() = default;

void DecoderPool::set_limits(const MediaLimits& limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

DecoderPool::Counters DecoderPool::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

std::unique_ptr<DecoderPool::Worker> DecoderPool::start() const {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail(ErrorKind::resource, "no socket for a picture decoder: {}", std::strerror(errno));
  auto worker = std::make_unique<Worker>();
  worker->fd = pair[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  if (pair[1] == kWorkerDescriptor) fcntl(pair[1], F_SETFD, 0);  // dup2 onto itself would keep close-on-exec
  posix_spawn_file_actions_adddup2(&actions, pair[1], kWorkerDescriptor);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);  // Ctrl-C in the terminal is for the server, which ends its workers
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const std::string& a : command_) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  char* environment[] = {nullptr};
  const int error = posix_spawn(&worker->pid, argv[0], &actions, &attributes, argv.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(pair[1]);
  if (error) {
    worker->pid = -1;
    fail(ErrorKind::resource, "a picture decoder ({}) cannot be started: {}", command_[0], std::strerror(error));
  }
  return worker;
}

std::unique_ptr<DecoderPool::Worker> DecoderPool::take(double timeout_s) {
  std::unique_lock lock(mutex_);
  if (!free_.wait_for(lock, std::chrono::duration<double>(timeout_s), [&] { return !idle_.empty() || out_ < limits_.decoders; })) return nullptr;
  ++out_;
  if (!idle_.empty()) {
    auto w = std::move(idle_.back());
    idle_.pop_back();
    return w;
  }
  lock.unlock();
  try {
    return start();  // in place of one that was lost
  } catch (...) {
    give(nullptr);
    throw;
  }
}

void DecoderPool::give(std::unique_ptr<Worker> worker) {
  {
    std::lock_guard lock(mutex_);
    --out_;
    if (worker) idle_.push_back(std::move(worker));
  }
  free_.notify_one();
}

// Gives the worker back in any case; one that is not whole any more is ended.
struct DecoderPool::Lease {
  DecoderPool& pool;
  std::unique_ptr<Worker> worker;
  ~Lease() { pool.give(std::move(worker)); }
};

DecoderPool::Picture DecoderPool::decode(const std::string& bytes, const std::string& param) {
  MediaLimits limits;
  {
    std::lock_guard lock(mutex_);
    limits = limits_;
  }
  auto taken = take(limits.decode_timeout_s);
  if (!taken) throw unavailable("all picture decoders are busy", 1);
  Lease lease{*this, std::move(taken)};
  const int fd = lease.worker->fd;
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits.decode_timeout_s));
  auto lost = [&](Io how) {
    const pid_t pid = lease.worker->pid;
    lease.worker.reset();
    {
      std::lock_guard lock(mutex_);
      ++(how == Io::late ? counters_.killed : counters_.died);
    }
    spdlog::warn("picture decoder {}: {}", pid, how == Io::late ? "took too long and was killed" : "died");
    if (how == Io::late) fail_field(param, "could not be decoded within {} seconds", limits.decode_timeout_s);
    fail_field(param, "could not be decoded: its decoder failed (a damaged or hostile file, or more memory than is allowed)");
  };
  const DecodeRequest request{kDecoderMagic, limits.max_image_bytes, limits.max_pixels, bytes.size()};
  DecodeReply reply{};
  std::string payload;
  if (Io io = send_all(fd, &request, sizeof request, until); io != Io::done) lost(io);
  if (Io io = send_all(fd, bytes.data(), bytes.size(), until); io != Io::done) lost(io);
  if (Io io = receive_all(fd, &reply, sizeof reply, until); io != Io::done) lost(io);
  const bool plausible = reply.magic == kDecoderMagic && (reply.ok ? reply.width > 0 && reply.height > 0 && int64_t(reply.width) * reply.height <= limits.max_pixels &&
                                                                        reply.bytes == uint64_t(reply.width) * reply.height * 3
                                                                  : reply.bytes <= kLongestDecodeError);
  if (!plausible) lost(Io::gone);
  if (reply.ok) payload = fmt::format("P6\n{} {}\n255\n", reply.width, reply.height);
  const size_t head = payload.size();
  payload.resize(head + reply.bytes);
  if (Io io = receive_all(fd, payload.data() + head, reply.bytes, until); io != Io::done) lost(io);
  std::lock_guard lock(mutex_);
  if (!reply.ok) {
    ++counters_.refused;
    fail_field(param, "{}", payload);
  }
  ++counters_.decoded;
  return {std::move(payload), int64_t(reply.width) * reply.height};
}

}  // namespace vl8

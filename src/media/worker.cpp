#include "media/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

#include "core/env.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "media/worker_image.h"
#include "media/worker_wire.h"

namespace vl8 {
namespace {

constexpr const char* kCommand = "media-worker";
constexpr int kSocketInWorker = 3;

std::mutex program_lock;
std::filesystem::path program_path;

std::filesystem::path worker_program() {
  if (auto path = env("VL8_WORKER")) return *path;
  std::lock_guard guard(program_lock);
  return program_path.empty() ? std::filesystem::path("/proc/self/exe") : program_path;
}

struct SpawnActions {
  posix_spawn_file_actions_t actions;
  SpawnActions() { posix_spawn_file_actions_init(&actions); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions); }
};

}  // namespace

bool is_media_worker(int argc, char** argv) { return argc == 5 && std::strcmp(argv[1], kCommand) == 0; }

void set_worker_program(const std::filesystem::path& program) {
  std::lock_guard guard(program_lock);
  program_path = program;
}

Worker::Worker(std::string_view task, const WorkerLimits& limits) : limits_(limits) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    fail(ErrorKind::resource, "cannot start a decoder: {}", std::strerror(errno));
  SpawnActions a;
  posix_spawn_file_actions_adddup2(&a.actions, pair[1], kSocketInWorker);
  const std::string program = worker_program().string(), name(task), memory = std::to_string(limits.memory_bytes),
                    cpu = std::to_string(limits.cpu_seconds);
  char* argv[] = {const_cast<char*>("vl8"),         const_cast<char*>(kCommand),    const_cast<char*>(name.c_str()),
                  const_cast<char*>(memory.c_str()), const_cast<char*>(cpu.c_str()), nullptr};
  char* no_environment[] = {nullptr};
  int error = posix_spawn(&pid_, program.c_str(), &a.actions, nullptr, argv, no_environment);
  close(pair[1]);
  socket_ = pair[0];
  if (error != 0) {
    end();
    fail(ErrorKind::resource, "cannot start the decoder {}: {}", program, std::strerror(error));
  }
}

Worker::~Worker() { end(); }

Worker::Worker(Worker&& other) noexcept { *this = std::move(other); }
Worker& Worker::operator=(Worker&& other) noexcept {
  std::swap(socket_, other.socket_);
  std::swap(pid_, other.pid_);
  std::swap(limits_, other.limits_);
  return *this;
}

void Worker::end() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (pid_ > 0) {
    kill(pid_, SIGKILL);  // it holds nothing that needs a farewell
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
}

void Worker::fail_dead(std::string_view what, worker::Receive why) {
  const bool late = why == worker::Receive::late;
  int status = 0;
  const pid_t pid = pid_;
  close(socket_), socket_ = -1;
  if (late) kill(pid, SIGKILL);
  const bool ended = why == worker::Receive::broken && waitpid(pid, &status, WNOHANG) == pid;
  if (why == worker::Receive::broken && !ended) kill(pid, SIGKILL);  // it runs, and has sent something unsound
  while (!ended && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  throw_if_interrupted();
  if (late) fail_input("{}: the decoder took more than {} seconds and was ended", what, limits_.call_seconds);
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
    fail_input("{}: the decoder used up its limit of {} seconds or {} MB and was ended", what, limits_.cpu_seconds,
               limits_.memory_bytes >> 20);
  if (WIFSIGNALED(status))
    fail_input("{}: the decoder died of signal {} ({}): a damaged or hostile file", what, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
  fail_input("{}: the decoder ended with code {} before it answered; is {} a program with the command {}?", what,
             WEXITSTATUS(status), worker_program().string(), kCommand);
}

Worker::Reply Worker::call(std::string_view what, const nlohmann::json& head, std::span<const std::byte> bytes, int fd) {
  check(alive(), "a call to a decoder that has ended");
  const auto deadline = std::chrono::steady_clock::now() +
                        std::chrono::milliseconds(int64_t(limits_.call_seconds * 1000));
  worker::Message reply;
  if (!worker::send_message(socket_, head, bytes.data(), bytes.size(), fd)) fail_dead(what, worker::Receive::closed);
  const worker::Receive r = worker::receive_message(socket_, reply, worker::kMaxBytes, deadline);
  if (r != worker::Receive::ok) fail_dead(what, r);
  if (reply.fd >= 0) close(reply.fd);
  if (auto error = reply.head.find("error"); error != reply.head.end()) {
    const int kind = reply.head.value("kind", int(ErrorKind::input));
    const bool known = kind >= int(ErrorKind::usage) && kind <= int(ErrorKind::internal);
    throw Error(known ? ErrorKind(kind) : ErrorKind::input, error->is_string() ? error->get<std::string>() : "unknown");
  }
  return {std::move(reply.head), std::move(reply.bytes)};
}

Image decode_image_isolated(std::span<const std::byte> data, std::string_view name, const Limits& limits,
                            const DecodeOptions& options) {
  Worker worker("image");
  Worker::Reply r = worker.call(name,
                                {{"name", name},
                                 {"max_bytes", limits.max_bytes},
                                 {"max_pixels", limits.max_pixels},
                                 {"max_aspect", limits.max_aspect},
                                 {"orientation", options.apply_orientation},
                                 {"on_white", options.alpha_on_white},
                                 {"clip_grey16", options.clip_grey16}},
                                data);
  return worker::image_from_reply(r, name);
}

}  // namespace vl8

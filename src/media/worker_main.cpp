// The other side of media/worker.h: what the process does that decodes untrusted files.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "core/log.h"
#include "media/video_task.h"
#include "media/worker_image.h"

namespace vl8 {
namespace {

using worker::Message;
using worker::Task;
constexpr int kSocket = 3;

class ImageTask : public Task {
 public:
  std::span<const uint8_t> handle(const Message& m, nlohmann::json& head) override {
    Limits limits;
    limits.max_bytes = m.head.value("max_bytes", limits.max_bytes);
    limits.max_pixels = m.head.value("max_pixels", limits.max_pixels);
    limits.max_aspect = m.head.value("max_aspect", limits.max_aspect);
    const DecodeOptions options{m.head.value("orientation", true), m.head.value("on_white", true),
                                m.head.value("clip_grey16", false)};
    image_ = decode_image(std::as_bytes(std::span(m.bytes)), m.head.value("name", "picture"), limits, options);
    head = worker::image_head(image_);
    return {image_.rgb.get(), image_.bytes()};
  }

 private:
  Image image_;
};

// Dies in the way its request asks for: for the tests of limits, and harmless because only a parent can ask for it.
class FaultTask : public Task {
 public:
  std::span<const uint8_t> handle(const Message& m, nlohmann::json& head) override {
    const std::string how = m.head.value("how", "");
    if (how == "crash") abort();
    if (how == "hang")
      while (true) pause();
    if (how == "spin")
      while (getppid() != 0) {
      }
    if (how == "memory")
      for (std::vector<std::unique_ptr<char[]>> all;;) {
        all.push_back(std::make_unique<char[]>(size_t(64) << 20));
        std::memset(all.back().get(), 1, size_t(64) << 20);
      }
    if (how == "open") head["opened"] = open("/etc/hostname", O_RDONLY) >= 0;
    if (how == "connect") head["opened"] = socket(AF_INET, SOCK_STREAM, 0) >= 0;
    return {};
  }
};

struct Row {
  const char* name;
  std::unique_ptr<Task> (*make)();
};
constexpr Row kTasks[] = {
    {"image", [] { return std::unique_ptr<Task>(new ImageTask); }},
    {"video", [] { return worker::make_video_task(); }},
    {"stream", [] { return worker::make_stream_task(); }},
    {"fault", [] { return std::unique_ptr<Task>(new FaultTask); }},
};

void set_limit(int what, rlim_t value) {
  rlimit r{value, value};
  setrlimit(__rlimit_resource_t(what), &r);
}

void limit_process(size_t memory_bytes, int cpu_seconds) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // their shadow memory is larger than any limit
  set_limit(RLIMIT_AS, memory_bytes);
#else
  (void)memory_bytes;
#endif
  set_limit(RLIMIT_CPU, rlim_t(cpu_seconds));
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_FSIZE, 0);
  close_range(kSocket + 1, ~0u, 0);
  signal(SIGINT, SIG_IGN);  // a Ctrl-C in the terminal is the parent's to handle: it closes our socket
}

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArch = 0;
#endif

// From here on these calls fail with EPERM. Everything the decoder needs is open already.
void forbid_system_calls() {
  if (kArch == 0) return;
  constexpr std::array<uint32_t, 15> kForbidden = {
      SYS_execve, SYS_execveat, SYS_socket, SYS_connect, SYS_bind, SYS_openat, SYS_openat2, SYS_ptrace,
      SYS_process_vm_readv, SYS_process_vm_writev, SYS_unlinkat, SYS_renameat2, SYS_mount, SYS_kill,
#if defined(__x86_64__)
      SYS_open
#else
      SYS_linkat
#endif
  };
  constexpr size_t n = kForbidden.size();
  std::array<sock_filter, n + 6> code{};
  size_t at = 0;
  code[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  code[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0);
  code[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < n; ++i) code[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kForbidden[i], uint8_t(n - i), 0);
  code[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  sock_fprog program{uint16_t(at), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    spdlog::debug("decoder: system calls cannot be limited here: {}", std::strerror(errno));
}

nlohmann::json error_head(const Error& e) { return {{"error", e.what()}, {"kind", int(e.kind())}}; }

// False: the parent is gone.
bool serve_one(Task& task) {
  Message m;
  if (worker::receive_message(kSocket, m, worker::kMaxBytes) != worker::Receive::ok) return false;
  nlohmann::json head = nlohmann::json::object();
  std::span<const uint8_t> bytes;
  try {
    bytes = task.handle(m, head);
  } catch (const Error& e) {
    head = error_head(e);
  } catch (const std::bad_alloc&) {
    head = error_head(Error(ErrorKind::input, m.head.value("name", std::string("the file")) +
                                                  ": decoding it needs more memory than the decoder may use"));
  } catch (const std::exception& e) {
    head = error_head(Error(ErrorKind::internal, std::string("decoder: ") + e.what()));
  }
  return worker::send_message(kSocket, head, bytes.data(), bytes.size());
}

}  // namespace

int media_worker_main(char** argv) {
  init_log();
  for (const Row& row : kTasks)
    if (std::strcmp(row.name, argv[2]) == 0) {
      std::unique_ptr<Task> task = row.make();
      limit_process(std::strtoull(argv[3], nullptr, 10), int(std::strtol(argv[4], nullptr, 10)));
      if (!task->needs_system()) forbid_system_calls();
      while (serve_one(*task)) {
      }
      return 0;
    }
  return 2;
}

}  // namespace vl8

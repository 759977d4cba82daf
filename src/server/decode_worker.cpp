// The decoder process: reads a picture, writes its pixels. Limits are set before the first byte is read.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "media/image.h"
#include "core/error.h"
#include "server/decoder_pool.h"
#include "server/decoder_protocol.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VL8_SANITIZED 1
#else
#define VL8_SANITIZED 0
#endif

namespace vl8 {
namespace {

bool read_all(void* data, size_t bytes) {
  for (char* p = static_cast<char*>(data); bytes > 0;) {
    const ssize_t n = recv(kWorkerDescriptor, p, bytes, 0);
    if (n <= 0) return false;
    p += n, bytes -= size_t(n);
  }
  return true;
}

bool write_all(const void* data, size_t bytes) {
  for (const char* p = static_cast<const char*>(data); bytes > 0;) {
    const ssize_t n = send(kWorkerDescriptor, p, bytes, MSG_NOSIGNAL);
    if (n <= 0) return false;
    p += n, bytes -= size_t(n);
  }
  return true;
}

void limit(int resource, rlim_t value) {
  const rlimit r{value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &r);
}

// Memory, time and the socket that is open already: nothing else may be asked of the kernel. A decoder that is taken over
// cannot open a file, start a program or talk to anyone.
bool lock_system_calls() {
#if defined(__x86_64__)
  constexpr unsigned kAllowed[] = {SYS_read, SYS_write, SYS_recvfrom, SYS_sendto, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
                                   SYS_futex, SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_gettimeofday, SYS_getrandom,
                                   SYS_getpid, SYS_gettid, SYS_sched_yield, SYS_restart_syscall};
  constexpr size_t n = sizeof kAllowed / sizeof *kAllowed;
  sock_filter code[n + 6];
  size_t k = 0;
  code[k++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  code[k++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  code[k++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[k++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < n; ++i) code[k++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAllowed[i], static_cast<unsigned char>(n - i), 0);
  code[k++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[k++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog program{static_cast<unsigned short>(k), code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#else
  return false;
#endif
}

void confine(int64_t memory_bytes) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 8);
  if (VL8_SANITIZED) return;  // shadow memory and its system calls do not fit in what follows
  limit(RLIMIT_AS, rlim_t(memory_bytes));
  lock_system_calls();
}

bool send_error(std::string why) {
  why.resize(std::min<size_t>(why.size(), kLongestDecodeError));
  const DecodeReply reply{kDecoderMagic, 0, 0, 0, why.size()};
  return write_all(&reply, sizeof reply) && write_all(why.data(), why.size());
}

bool answer(const DecodeRequest& request) {
  try {
    std::string file(request.bytes, '\0');
    if (!read_all(file.data(), file.size())) return false;
    Limits limits;
    limits.max_bytes = request.max_bytes;
    limits.max_pixels = request.max_pixels;
    const Image image = decode_image(std::as_bytes(std::span(file)), "the picture", limits);
    const DecodeReply reply{kDecoderMagic, 1, image.width, image.height, image.bytes()};
    return write_all(&reply, sizeof reply) && write_all(image.rgb.get(), image.bytes());
  } catch (const Error& e) {
    return send_error(e.what());
  } catch (const std::bad_alloc&) {
    return send_error("decoding it needs more memory than is allowed");
  }
}

}  // namespace

int run_decode_worker(int64_t memory_bytes) {
  confine(memory_bytes);
  DecodeRequest request;
  while (read_all(&request, sizeof request) && request.magic == kDecoderMagic && request.bytes <= request.max_bytes)
    if (!answer(request)) return 1;
  return 0;
}

}  // namespace vl8

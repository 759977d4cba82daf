#include "media/worker_wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace vl8::worker {
namespace {

using Clock = std::chrono::steady_clock;

struct Prefix {
  uint64_t head_bytes, bytes;
};

bool send_all(int socket, const void* data, size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t n = send(socket, p, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n, size -= size_t(n);
  }
  return true;
}

// The first bytes carry the open file, as the kernel wants it.
bool send_prefix(int socket, const Prefix& prefix, int fd) {
  if (fd < 0) return send_all(socket, &prefix, sizeof prefix);
  iovec io{const_cast<Prefix*>(&prefix), sizeof prefix};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &io, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  ssize_t n;
  do n = sendmsg(socket, &m, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n > 0 && send_all(socket, reinterpret_cast<const char*>(&prefix) + n, sizeof prefix - size_t(n));
}

Receive wait_readable(int socket, Clock::time_point deadline) {
  while (true) {
    int ms = -1;
    if (deadline != Clock::time_point::max()) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return Receive::late;
      ms = int(std::min<int64_t>(left, 1 << 30));
    }
    pollfd p{socket, POLLIN, 0};
    int n = poll(&p, 1, ms);
    if (n > 0) return Receive::ok;
    if (n < 0 && errno != EINTR) return Receive::broken;
  }
}

Receive receive_all(int socket, void* data, size_t size, Clock::time_point deadline, int* fd = nullptr) {
  char* p = static_cast<char*>(data);
  while (size > 0) {
    if (Receive r = wait_readable(socket, deadline); r != Receive::ok) return r;
    iovec io{p, size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &io, m.msg_iovlen = 1;
    if (fd) m.msg_control = control, m.msg_controllen = sizeof control;
    ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0 ? Receive::closed : Receive::broken;
    if (fd)
      for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) std::memcpy(fd, CMSG_DATA(c), sizeof *fd);
    p += n, size -= size_t(n);
  }
  return Receive::ok;
}

}  // namespace

bool send_message(int socket, const nlohmann::json& head, const void* data, size_t size, int fd) {
  const std::string text = head.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return send_prefix(socket, {text.size(), size}, fd) && send_all(socket, text.data(), text.size()) &&
         send_all(socket, data, size);
}

Receive receive_message(int socket, Message& out, size_t bytes_limit, Clock::time_point deadline) {
  Prefix prefix{};
  out.fd = -1;
  if (Receive r = receive_all(socket, &prefix, sizeof prefix, deadline, &out.fd); r != Receive::ok) return r;
  if (prefix.head_bytes > kMaxHeadBytes || prefix.bytes > bytes_limit) return Receive::broken;
  std::string text(size_t(prefix.head_bytes), '\0');
  if (Receive r = receive_all(socket, text.data(), text.size(), deadline); r != Receive::ok) return r;
  out.head = nlohmann::json::parse(text, nullptr, false);
  if (!out.head.is_object()) return Receive::broken;
  out.bytes.resize(size_t(prefix.bytes));
  return receive_all(socket, out.bytes.data(), out.bytes.size(), deadline);
}

}  // namespace vl8::worker
